//! `nerve-server tag` tags Arrow streams and Parquet files.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int8Type, Int64Type};
use arrow_array::{Array, ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use crate::fixture::{fail, output};
use crate::tag::tag;

const TEXTS: [Option<&str>; 6] = [
    Some("Ann Lee went to São Paulo ."),
    None,
    Some(""),
    Some("a text that is longer than this test's limit of bytes, so that it is not tagged"),
    Some("In Ulm , I met Zoë today !"),
    Some("😀 Bob"),
];

/// The texts, with columns of other types and metadata.
fn table() -> RecordBatch {
    let mut words = ListBuilder::new(StringBuilder::new());
    for text in TEXTS {
        match text {
            Some(text) => words.append_value(text.split_whitespace().map(Some)),
            None => words.append_null(),
        }
    }
    let numbers = Int64Array::from_iter((0..6).map(|row| (row != 2).then_some(row)));
    let kinds = ["a", "b", "a", "c", "a", "b"].map(Some);
    let columns: [(&str, ArrayRef); 4] = [
        ("number", Arc::new(numbers)),
        ("text", Arc::new(StringArray::from_iter(TEXTS))),
        ("kind", Arc::new(DictionaryArray::<Int8Type>::from_iter(kinds))),
        ("words", Arc::new(words.finish())),
    ];
    let columns = columns.map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let metadata = [
        ("pandas", "{}"),
        ("org.apache.spark.sql.parquet.row.metadata", "{}"),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let schema = Schema::new_with_metadata(batch.schema().fields().clone(), HashMap::from(metadata));
    RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

fn read_stream(bytes: &[u8]) -> (SchemaRef, Vec<RecordBatch>) {
    let reader = StreamReader::try_new(bytes, None).unwrap();
    (reader.schema(), reader.map(Result::unwrap).collect())
}

fn write_parquet(path: &Path, batch: &RecordBatch) {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(4))
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn read_parquet(path: &Path) -> (SchemaRef, Vec<RecordBatch>) {
    let file = std::fs::File::open(path).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    (
        Arc::clone(builder.schema()),
        builder.build().unwrap().map(Result::unwrap).collect(),
    )
}

/// The results of the rows, in the form of JSON lines without their words.
fn results(batches: &[RecordBatch]) -> Vec<Value> {
    let mut rows = Vec::new();
    for batch in batches {
        let entities = batch.column_by_name("entities").unwrap().as_list::<i32>();
        let errors = batch.column_by_name("error").unwrap().as_string::<i32>();
        for row in 0..batch.num_rows() {
            let found = entities.is_valid(row).then(|| {
                let list = entities.value(row);
                let list = list.as_struct();
                let text =
                    |column: usize, at: usize| list.column(column).as_string::<i32>().value(at).to_owned();
                let place =
                    |column: usize, at: usize| list.column(column).as_primitive::<Int64Type>().value(at);
                let score = |at: usize| list.column(4).as_primitive::<Float32Type>().value(at).to_string();
                let entity = |at| json!([text(0, at), text(1, at), place(2, at), place(3, at), score(at)]);
                (0..list.len()).map(entity).collect::<Vec<_>>()
            });
            let error = errors.is_valid(row).then(|| errors.value(row));
            rows.push(json!([found, error]));
        }
    }
    rows
}

/// The results of the same texts as JSON lines.
fn results_of_lines(options: &[&str], line: impl Fn(&str) -> Value) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    let lines: String = TEXTS
        .iter()
        .flatten()
        .map(|text| format!("{}\n", line(text)))
        .collect();
    std::fs::write(&path, lines).unwrap();
    let ended = output(&mut tag(&path, options));
    let written = String::from_utf8(ended.stdout).unwrap();
    let mut lines = written.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let entities = line["entities"].as_array().map(|entities| {
            let entity = |entity: &Value| {
                let score = (entity["score"].as_f64().unwrap() as f32).to_string();
                json!([
                    entity["type"],
                    entity["text"],
                    entity["start"],
                    entity["end"],
                    score
                ])
            };
            entities.iter().map(entity).collect::<Vec<_>>()
        });
        json!([entities, line["error"]["message"]])
    });
    let row = |text: &Option<&str>| match text {
        Some(_) => lines.next().unwrap(),
        None => json!([null, null]),
    };
    TEXTS.iter().map(row).collect()
}

fn assert_passed_through(input: &RecordBatch, output: &[RecordBatch]) {
    let mut row = 0;
    for batch in output {
        for field in input.schema().fields() {
            let name = field.name();
            let expected = input.column_by_name(name).unwrap().slice(row, batch.num_rows());
            assert_eq!(
                batch.schema().field_with_name(name).unwrap().data_type(),
                field.data_type()
            );
            assert_eq!(batch.column_by_name(name).unwrap(), &expected, "{name}");
        }
        row += batch.num_rows();
    }
    assert_eq!(row, input.num_rows());
}

#[test]
fn rows_are_answered_as_lines_are() {
    let dir = tempfile::tempdir().unwrap();
    let batch = table();
    let limit = ["--max-line-bytes", "60"];
    type Case<'c> = (&'c [&'c str], fn(&str) -> Value, usize);
    let cases: [Case; 4] = [
        (&[], |text| json!({"text": text}), 4),
        (
            &["--offsets", "byte", "--aggregation", "max", "--unconstrained"],
            |text| json!({"text": text}),
            4,
        ),
        (
            &["--labels", "location", "--threshold", "0.3"],
            |text| json!({"text": text}),
            2,
        ),
        (
            &["--words-column", "words"],
            |text| json!({"words": text.split_whitespace().collect::<Vec<_>>()}),
            4,
        ),
    ];
    for (options, line, least) in cases {
        let of_lines: Vec<&str> = options
            .iter()
            .copied()
            .filter(|option| !option.contains("words"))
            .collect();
        // A line has a few more bytes than its text.
        let expected = results_of_lines(&[&["--max-line-bytes", "80"], &of_lines[..]].concat(), line);
        let path = dir.path().join("in.arrows");
        std::fs::write(
            &path,
            stream(&[batch.slice(0, 1), batch.slice(1, 0), batch.slice(1, 5)]),
        )
        .unwrap();
        let ended = output(tag(&path, options).args(limit).args(["--output", "arrow"]));
        let message = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(message, "nerve-server: 1 of 5 rows failed\n");
        assert_eq!(ended.status.code(), Some(1));
        let (_, written) = read_stream(&ended.stdout);
        assert_eq!(
            written.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(),
            [1, 0, 5]
        );
        assert_passed_through(&batch, &written);
        let mut found = results(&written);
        assert_eq!(
            found[3],
            json!([null, "the line has more than 60 bytes (--max-line-bytes)"])
        );
        assert!(expected[3][1].as_str().unwrap().contains("80 bytes"));
        found[3] = expected[3].clone();
        assert_eq!(found, expected);
        let entities: usize = found
            .iter()
            .filter_map(|row| row[0].as_array())
            .map(Vec::len)
            .sum();
        assert!(entities >= least, "{found:?}");
    }
}

#[test]
fn a_parquet_file_keeps_its_columns_and_gets_the_results() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in.parquet"), dir.path().join("out.parquet"));
    let batch = table();
    write_parquet(&input, &batch);
    let ended = output(tag(&input, &["--out"]).arg(&out));
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(ended.stdout.is_empty());
    let (schema, written) = read_parquet(&out);
    assert_passed_through(&batch, &written);
    assert_eq!(schema.metadata().keys().collect::<Vec<_>>(), ["pandas"]);
    let metadata = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&out).unwrap()).unwrap();
    let metadata = metadata.metadata();
    assert_eq!(metadata.row_group(0).column(0).compression(), Compression::SNAPPY);
    let expected = results_of_lines(&[], |text| json!({"text": text}));
    assert_eq!(results(&written), expected);

    // To an Arrow stream, and from that to a Parquet file.
    let ended = output(&mut tag(&input, &["--output", "arrow"]));
    let (_, streamed) = read_stream(&ended.stdout);
    assert_passed_through(&batch, &streamed);
    assert_eq!(results(&streamed), expected);
    let arrows = dir.path().join("in.arrows");
    std::fs::write(&arrows, stream(std::slice::from_ref(&batch))).unwrap();
    let other = dir.path().join("other.parquet");
    assert!(output(tag(&arrows, &["--out"]).arg(&other)).status.success());
    let (_, written) = read_parquet(&other);
    assert_passed_through(&batch, &written);
    assert_eq!(results(&written), expected);

    // To lines, which are numbered as the rows are.
    let ended = output(&mut tag(&input, &["--no-words"]));
    let lines = String::from_utf8(ended.stdout).unwrap();
    let numbers = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["line"].clone());
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 3, 4, 5, 6]);
}

fn pipe(options: &[&str]) -> Child {
    tag(
        Path::new("-"),
        &[&["--input", "arrow", "--output", "arrow"], options].concat(),
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap()
}

#[test]
fn a_record_batch_is_answered_while_the_input_is_idle() {
    let mut child = pipe(&[]);
    let batch = table();
    let mut requests = StreamWriter::try_new(child.stdin.take().unwrap(), &batch.schema()).unwrap();
    requests.flush().unwrap();
    // The schema comes before the first record batch is sent.
    let mut answers = StreamReader::try_new(child.stdout.take().unwrap(), None).unwrap();
    assert!(answers.schema().field_with_name("entities").is_ok());
    for rows in [6, 0, 1, 3] {
        let request = batch.slice(0, rows);
        requests.write(&request).unwrap();
        requests.flush().unwrap();
        let answer = answers.next().unwrap().unwrap();
        assert_passed_through(&request, &[answer]);
    }
    requests.finish().unwrap();
    assert!(answers.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_truncated_stream_is_an_error_after_the_batches_before() {
    let batch = table();
    let whole = stream(&[batch.clone(), batch.clone()]);
    let mut child = pipe(&[]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&whole[..whole.len() - 100]).unwrap();
    drop(stdin);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let message = String::from_utf8(ended.stderr).unwrap();
    assert!(
        message.starts_with("nerve-server: cannot read - as an Arrow IPC stream: "),
        "{message}"
    );
    let mut answers = StreamReader::try_new(&ended.stdout[..], None).unwrap();
    assert_eq!(answers.next().unwrap().unwrap().num_rows(), 6);
    // Without the marker of the end, which a complete stream has.
    assert!(!ended.stdout.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
}

#[test]
fn a_stopped_run_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    for extension in ["parquet", "arrows"] {
        let out = dir.path().join("out").with_extension(extension);
        let mut child = tag(Path::new("-"), &["--input", "arrow", "--out"])
            .arg(&out)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let batch = table();
        let mut requests = StreamWriter::try_new(child.stdin.take().unwrap(), &batch.schema()).unwrap();
        requests.write(&batch).unwrap();
        requests.flush().unwrap();
        // The temporary file shows that signals are awaited.
        while std::fs::read_dir(dir.path()).unwrap().count() == 0 {
            std::thread::yield_now();
        }
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert_eq!(
            String::from_utf8(ended.stderr).unwrap(),
            "nerve-server: interrupted\n"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_table_that_cannot_be_tagged_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let batch = table();
    write_parquet(&path("in.parquet"), &batch);
    std::fs::write(path("in.arrows"), stream(std::slice::from_ref(&batch))).unwrap();
    std::fs::write(path("in.txt"), "Ann\n").unwrap();
    let whole = std::fs::read(path("in.parquet")).unwrap();
    std::fs::write(path("cut.parquet"), &whole[..whole.len() - 10]).unwrap();
    let mut damaged = whole;
    damaged[4..300].fill(0xff);
    std::fs::write(path("damaged.parquet"), damaged).unwrap();
    let renamed = RecordBatch::try_from_iter([
        ("text", batch.column(1).clone()),
        ("error", batch.column(1).clone()),
    ]);
    std::fs::write(path("taken.arrows"), stream(&[renamed.unwrap()])).unwrap();
    let out = path("out.parquet");
    let to_parquet = ["--out", out.to_str().unwrap()];
    let cases: [(&str, &[&str], &str); 11] = [
        (
            "in.parquet",
            &["--text-column", "body"],
            "has no column `body`; its columns are number, text, kind, words",
        ),
        (
            "in.arrows",
            &["--text-column", "number"],
            "is of type Int64; --text-column needs Utf8",
        ),
        (
            "in.arrows",
            &["--words-column", "text"],
            "is of type Utf8; --words-column needs List",
        ),
        (
            "taken.arrows",
            &["--output", "arrow"],
            "taken.arrows has a column `error`, which is the name",
        ),
        (
            "in.txt",
            &to_parquet,
            "--output parquet needs a table: --input arrow or parquet, not lines",
        ),
        (
            "in.txt",
            &["--text-column", "a"],
            "--text-column has no effect with --input lines",
        ),
        (
            "in.parquet",
            &["--output", "arrow", "--no-words"],
            "--no-words has no effect with --output arrow",
        ),
        (
            "in.parquet",
            &["--input", "arrow"],
            "in.parquet as an Arrow IPC stream",
        ),
        (
            "in.arrows",
            &["--input", "parquet"],
            "in.arrows as a Parquet file",
        ),
        ("cut.parquet", &to_parquet, "cut.parquet as a Parquet file"),
        ("damaged.parquet", &to_parquet, "damaged.parquet"),
    ];
    for (name, options, problem) in cases {
        let message = fail(&mut tag(&path(name), options));
        assert!(message.contains(problem), "{name} {options:?}: {message}");
    }
    assert!(!out.exists());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 6);
    let message = fail(&mut tag(Path::new("-"), &["--input", "parquet"]));
    assert!(
        message.contains("- is not a regular file; a Parquet file is read from its end"),
        "{message}"
    );
}
