//! BERTweet's tokenizer files, `bpe.codes` and `vocab.txt`, as an ordinary tokenizer.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use nerve_repository::write_synced;
use nerve_tagging::into_text;
use tokenizers::decoders::bpe::BPEDecoder;
use tokenizers::models::bpe::{BPE, BpeBuilder};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::tokenizer::Model;
use tokenizers::{AddedToken, Tokenizer};

use crate::bertweet_pieces::{CONTINUED, FIRST, MASK, UNKNOWN, WORD_END, merges, word_splitter};
use crate::tokenizer_error::{TokenizerError, line_error, open_error, save_error};
use crate::tweet_normalizer::replacements;

/// The name of the file of merges, one a line: two symbols and their frequency.
const CODES: &str = "bpe.codes";
/// The name of the file of pieces, one a line: a piece and its frequency.
const VOCABULARY: &str = "vocab.txt";
/// The classes of `transformers` that read these files; PhoBERT's tokenizes as BERTweet's does.
pub(super) const CLASSES: [&str; 2] = ["BertweetTokenizer", "PhobertTokenizer"];

/// Whether a directory's tokenizer is read from these files.
///
/// It is if `transformers` would, by the class that it names, since a published `tokenizer.json` beside them has ids that the network
/// lacks; and if there is no `tokenizer.json`. An error if one of the two files is missing.
pub(super) fn are_in(dir: &Path, class: Option<&str>) -> Result<bool, TokenizerError> {
    let named = class.is_some_and(|class| CLASSES.contains(&class));
    let has = |file: &str| dir.join(file).is_file();
    let missing = match (has(CODES), has(VOCABULARY)) {
        (true, true) => return Ok(named || !has("tokenizer.json")),
        _ if has("tokenizer.json") => return Ok(false),
        (true, false) => VOCABULARY,
        (false, _) if named => CODES,
        (false, _) => return Ok(false),
    };
    Err(TokenizerError::Bertweet {
        dir: dir.to_owned(),
        missing,
    })
}

/// The tokenizer of a directory's `bpe.codes` and `vocab.txt`.
///
/// A piece `ab@@` of the vocabulary is the symbol `ab` of the merges, and `ab` the symbol `ab</w>`. Symbols of merges that are not in
/// the vocabulary have the ids after that of `<mask>`, which is the last of the network.
///
/// With `normalization`, the tokenizer normalizes tweets.
pub(super) fn read(dir: &Path, normalization: bool) -> Result<Tokenizer, TokenizerError> {
    let (codes, vocabulary) = (dir.join(CODES), dir.join(VOCABULARY));
    let mut ids = symbol_ids(&vocabulary)?;
    let merges = merges_of(&codes)?;
    for (left, right) in &merges {
        for symbol in [left.clone(), right.clone(), format!("{left}{right}")] {
            let next = ids.len() as u32;
            ids.entry(symbol).or_insert(next);
        }
    }
    let model = BpeBuilder::new()
        .vocab_and_merges(
            ids.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
            merges,
        )
        .unk_token(UNKNOWN.to_owned())
        .end_of_word_suffix(WORD_END.to_owned());
    assembled(model, normalization).map_err(|error| open_error(&codes, error))
}

fn assembled(model: BpeBuilder, normalization: bool) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(model.build()?);
    let processor = TemplateProcessing::builder()
        .try_single("<s> $A </s>")?
        .try_pair("<s> $A </s> </s> $B </s>")?
        .special_tokens(vec![("<s>", 0), ("</s>", 2)])
        .build()?;
    tokenizer
        .with_normalizer(normalization.then(replacements).transpose()?)?
        .with_pre_tokenizer(Some(word_splitter()?))
        .with_post_processor(Some(processor))
        .with_decoder(Some(BPEDecoder::new(WORD_END.to_owned())));
    let specials = FIRST.into_iter().chain([MASK]);
    tokenizer.add_special_tokens(specials.map(|token| AddedToken::from(token, true)))?;
    Ok(tokenizer)
}

/// The ids of symbols in `vocab.txt`, and of the special tokens.
fn symbol_ids(path: &Path) -> Result<HashMap<String, u32>, TokenizerError> {
    let text = text_of(path)?;
    let mut ids: HashMap<String, u32> = FIRST.map(str::to_owned).into_iter().zip(0..).collect();
    let lines = text.lines().count();
    for (line, number) in text.lines().zip(1..) {
        let wrong = |problem: String| line_error(path, number, problem);
        let entry = line.trim_matches(is_space).rsplit_once(' ');
        let Some((piece, _)) = entry.filter(|(_, count)| count.parse::<i64>().is_ok()) else {
            return Err(wrong(format!("expected `piece frequency`, found `{line}`")));
        };
        if piece == MASK && number == lines {
            break;
        }
        if piece == MASK || FIRST.contains(&piece) {
            return Err(wrong(format!("`{piece}` is a special token, whose id is fixed")));
        }
        let before = piece.strip_suffix(CONTINUED).filter(|before| !before.is_empty());
        let symbol = before.map_or_else(|| format!("{piece}{WORD_END}"), str::to_owned);
        let id = ids.len() as u32;
        if ids.insert(symbol, id).is_some() {
            return Err(wrong(format!("`{piece}` has an id already")));
        }
    }
    check_end(path, &text, "piece")?;
    let mask = ids.len() as u32;
    ids.insert(MASK.to_owned(), mask);
    Ok(ids)
}

/// The merges in `bpe.codes`, by rank. `transformers` 5 writes the file without frequencies.
fn merges_of(path: &Path) -> Result<Vec<(String, String)>, TokenizerError> {
    let text = text_of(path)?;
    let mut merges = Vec::new();
    let mut first = None;
    for (line, number) in text.lines().zip(1..) {
        if number == 1 && line.starts_with("#version") {
            continue;
        }
        let wrong = |problem: String| line_error(path, number, problem);
        let mut fields: Vec<&str> = line.split(is_space).filter(|field| !field.is_empty()).collect();
        let count = fields.len();
        if *first.get_or_insert(count) != count {
            return Err(wrong(format!(
                "{count} fields, unlike the lines before: `{line}`"
            )));
        }
        if count == 3
            && fields
                .pop()
                .is_some_and(|frequency| frequency.parse::<i64>().is_err())
        {
            return Err(wrong(format!("the frequency of `{line}` is not a number")));
        }
        let [left, right] = fields[..] else {
            return Err(wrong(format!("expected `left right frequency`, found `{line}`")));
        };
        merges.push((left.to_owned(), right.to_owned()));
    }
    check_end(path, &text, "merge")?;
    Ok(merges)
}

/// An error if the last line of a file, which has a piece or a merge, is not ended.
fn check_end(path: &Path, text: &str, content: &str) -> Result<(), TokenizerError> {
    if text.ends_with('\n') {
        return Ok(());
    }
    let problem = format!(
        "the file ends without a line break, so the last {content} may be cut off; complete it, or end the line"
    );
    Err(line_error(path, text.lines().count().max(1), problem))
}

fn text_of(path: &Path) -> Result<String, TokenizerError> {
    fs::read(path)
        .and_then(into_text)
        .map_err(|error| open_error(path, error))
}

/// Whether Python takes a character for white space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Writes the `bpe.codes` and `vocab.txt` of a model, from which `transformers` reads the same tokenizer. Frequencies, which nothing
/// reads, are ids and the numbers of further merges.
pub(super) fn write(model: &BPE, dir: &Path) -> Result<(), TokenizerError> {
    let codes = dir.join(CODES);
    let merges = merges(model).map_err(|error| save_error(&codes, &error))?;
    let lines = merges.iter().zip((1..=merges.len()).rev());
    let text: String = lines
        .map(|((left, right), further)| format!("{left} {right} {further}\n"))
        .collect();
    write_file(&codes, &text)?;
    let ids = FIRST.len() as u32..model.token_to_id(MASK).unwrap_or_default();
    let pieces = ids.filter_map(|id| Some((model.id_to_token(id)?, id)));
    let text: String = pieces
        .map(|(symbol, id)| match symbol.strip_suffix(WORD_END) {
            Some(piece) => format!("{piece} {id}\n"),
            None => format!("{symbol}{CONTINUED} {id}\n"),
        })
        .collect();
    write_file(&dir.join(VOCABULARY), &text)
}

fn write_file(path: &Path, text: &str) -> Result<(), TokenizerError> {
    write_synced(path, text.as_bytes()).map_err(|error| save_error(path, &error.source))
}
