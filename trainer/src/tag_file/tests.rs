use std::path::Path;

use super::*;
use crate::evaluate::evaluation::tests::Lexicon;
use nerve_tagging::LabelSet;

fn tagged(text: &[u8], input: Format, output: OutputFormat) -> Result<String, TagFileError> {
    let mut tagger = Lexicon {
        labels: LabelSet::iob2(["per", "loc"]).unwrap(),
        words: vec![
            ("Zoë", "B-per"),
            ("Lee", "I-per"),
            ("Lee\u{200b}", "I-per"),
            ("Rome", "B-loc"),
            ("New York", "B-loc"),
        ],
    };
    let mut out = Vec::new();
    let input = Entries::new(text, Path::new("in.txt"), input);
    tag_file(&mut tagger, input, &mut out, output)?;
    Ok(String::from_utf8(out).unwrap())
}

fn conll(text: &str) -> Result<String, TagFileError> {
    tagged(text.as_bytes(), Format::Conll, OutputFormat::Conll)
}

#[test]
fn columns_keep_their_words_and_their_blank_lines() {
    let text = "\u{feff}-DOCSTART- -X- O\n\n\nZoë\tO\r\nLee NNP\n , in\n\u{a0}\tO\n\n \nNew York\tx\nRome\t";
    let expected =
        "-DOCSTART- -X- O\n\n\nZoë\tB-per\nLee\tI-per\n,\tO\n\u{a0}\tO\n\n \nNew York\tB-loc\nRome\tB-loc\n";
    assert_eq!(conll(text).unwrap(), expected);
    // What was tagged is tagged to the same again.
    assert_eq!(conll(expected).unwrap(), expected);
    assert_eq!(conll("").unwrap(), "");
}

#[test]
fn a_no_break_space_is_in_a_word_and_comments_are_kept() {
    let text = "# id 7\tdomain=en\n10\u{a0}000 _ _ O\nRome _ _ O\n";
    assert_eq!(
        conll(text).unwrap(),
        "# id 7\tdomain=en\n10\u{a0}000\tO\nRome\tB-loc\n"
    );
}

#[test]
fn the_words_of_germeval_are_tagged_and_the_output_can_be_read_again() {
    let germeval = "#\tu [1]\n1\tIn\tO\tO\n2\tRome\tO\tO\n\n#\tu [2]\n1\tRome\tO\tO\n";
    let expected = "#\tu [1]\nIn\tO\nRome\tB-loc\n\n#\tu [2]\nRome\tB-loc\n";
    assert_eq!(conll(germeval).unwrap(), expected);
    assert_eq!(conll(expected).unwrap(), expected);
}

#[test]
fn sentences_beyond_a_part_come_in_order() {
    let text: String = (0..3 * SENTENCES).map(|at| format!("w{at}\n\n")).collect();
    let expected: String = (0..3 * SENTENCES).map(|at| format!("w{at}\tO\n\n")).collect();
    assert_eq!(conll(&text).unwrap(), expected);
}

#[test]
fn lines_are_split_and_blank_ones_skipped() {
    let text = "In Rome , Zoë Lee\n\nno\n".as_bytes();
    let found = tagged(text, Format::Text, OutputFormat::Conll).unwrap();
    assert_eq!(
        found,
        "In\tO\nRome\tB-loc\n,\tO\nZoë\tB-per\nLee\tI-per\n\nno\tO\n\n"
    );
}

#[test]
fn a_json_line_has_entities_where_they_stand() {
    let text = "\n😀 Zoë  Lee !\n".as_bytes();
    let found = tagged(text, Format::Text, OutputFormat::Ndjson).unwrap();
    let line: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(line["line"], 2);
    assert_eq!(line["text"], "😀 Zoë  Lee !");
    let expected = serde_json::json!([
        {"type": "per", "text": "Zoë  Lee", "start": 2, "end": 10, "words": [1, 3], "score": 1.0}
    ]);
    assert_eq!(line["entities"], expected);
    assert_eq!(
        line["words"][0],
        serde_json::json!({"text": "😀", "label": "O", "score": 1.0})
    );

    let invisible = "{\"words\": [\"Zoë\", \"Lee\u{200b}\"]}".as_bytes();
    let found = tagged(invisible, Format::JsonLines, OutputFormat::Ndjson).unwrap();
    let line: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(line["entities"][0]["text"], "Zoë Lee");

    let found = tagged("x\n\nZoë\nLee\n".as_bytes(), Format::Conll, OutputFormat::Ndjson).unwrap();
    let lines: Vec<serde_json::Value> = found
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["line"], 3);
    let expected = serde_json::json!([{"type": "per", "text": "Zoë Lee", "words": [0, 2], "score": 1.0}]);
    assert_eq!(lines[1]["entities"], expected);
    assert!(lines[1].get("text").is_none());
}

#[test]
fn a_line_at_fault_is_named_with_its_file() {
    let error = conll("a\tO\n\n\tO\n").unwrap_err().to_string();
    assert_eq!(error, "in.txt:3: there is no word before the tab");
    let error = tagged(b"a\n\xff\n", Format::Text, OutputFormat::Conll).unwrap_err();
    assert_eq!(error.to_string(), "in.txt:2: not UTF-8");
}

#[test]
fn json_lines_give_words_or_text() {
    let text = "{\"words\": [\"New York\"]}\n{\"text\": \"in Rome\"}\n{\"text\": \" \"}\n";
    let found = tagged(text.as_bytes(), Format::JsonLines, OutputFormat::Conll).unwrap();
    assert_eq!(found, "New York\tB-loc\n\nin\tO\nRome\tB-loc\n\n");
    let unwritable = "{\"words\": [\"a\", \"b\\tc\"]}".as_bytes();
    let error = tagged(unwritable, Format::JsonLines, OutputFormat::Conll).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("in.txt:1: word 2 is blank or has a tab"),
        "{error}"
    );
    assert!(tagged(unwritable, Format::JsonLines, OutputFormat::Ndjson).is_ok());
}
