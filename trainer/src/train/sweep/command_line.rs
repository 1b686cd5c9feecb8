//! The command line that trains with given options.

use toml::Value;

use crate::train::options::TrainOptions;

/// The shell command that trains with these options; those that are absent have their defaults.
pub fn command_line(options: &TrainOptions) -> String {
    let mut arguments = vec!["nerve-trainer".to_owned(), "train".to_owned()];
    // Options are TOML by their definition; a value that is none has no argument.
    let table = toml::Table::try_from(options).unwrap_or_default();
    for (name, value) in table {
        let flag = format!("--{}", name.replace('_', "-"));
        match value {
            Value::Array(values) if values.iter().all(Value::is_integer) => {
                let values: Vec<String> = values.iter().map(text).collect();
                arguments.push(format!("{flag}={}", values.join(",")));
            }
            Value::Array(values) => {
                arguments.extend(values.iter().map(|value| format!("{flag}={}", text(value))));
            }
            value => arguments.push(format!("{flag}={}", text(&value))),
        }
    }
    // Only a NUL byte cannot be quoted, which no path has.
    let quoted = shlex::try_join(arguments.iter().map(String::as_str));
    quoted.unwrap_or_else(|_| arguments.join(" "))
}

/// A value without the quotes of TOML.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) => number.to_string(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    #[test]
    fn the_command_line_has_the_options_that_it_is_made_of() {
        let text = concat!(
            "data = \"my corpus\"\nbase = \"b\"\nout = \"RUN\"\nlearning_rate = 0.00031\ndropout = 0.0\nseeds = [1, 2, 3]\n",
            "freeze = [\"a b\", \"c\"]\ngroup_by_length = true\nreports = false\nclass_weights = \"O=0.5,B-per=2\"\n",
            "schedule = \"cosine\"\ndevice = \"cpu\"\nlabel_subwords = \"all\""
        );
        let options: TrainOptions = toml::from_str(text).unwrap();
        let line = command_line(&options);
        let words = shlex::split(&line).unwrap();
        assert_eq!(words[..2], ["nerve-trainer", "train"]);
        let command = TrainOptions::augment_args(clap::Command::new("train"));
        let found = command.try_get_matches_from(&words[1..]).unwrap();
        assert_eq!(TrainOptions::from_arg_matches(&found).unwrap(), options, "{line}");
    }
}
