//! BERTweet's normalization of tweets: user names, links, emoji, and punctuation apart from words.

use std::collections::HashMap;

use tokenizers::Result;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{NormalizerWrapper, Sequence};
use tokenizers::utils::SysRegex;

/// The names of emoji of one code point in the Python package `emoji` 0.6.0.
const EMOJI: &str = include_str!("tweet_normalizer/emoji_names.txt");
/// The named character references of HTML 4.
const ENTITIES: &str = include_str!("tweet_normalizer/html_entities.txt");
/// The characters that Windows-1252 has in place of the controls from 0x80 on; `\0` where it has none.
const WINDOWS_1252: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“',
    '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

// The tokens of NLTK's `TweetTokenizer` (Apache License 2.0), in its order: links, host names, and all others. Python's module
// `regex` takes `İ` for a form of `i`.
const LINK: &str = concat!(
    r"(?i)^(?:https?:(?:/{1,3}|[a-zİ0-9%])|[a-zİ0-9.\-]+[.](?:[a-zİ]{2,13})/)",
    r"(?:[^\s()<>{}\[\]]+|\([^\s()]*?\([^\s()]+\)[^\s()]*?\)|\([^\s]+?\))+",
    r"(?:\([^\s()]*?\([^\s()]+\)[^\s()]*?\)|\([^\s]+?\)|",
    r#"[^\s`!()\[\]{};:'".,<>?«»“”‘’])"#,
);
const HOST: &str = r"(?i)^[a-zİ0-9]+(?:[.\-][a-zİ0-9]+)*[.][a-zİ]{2,13}\b/?";
const OTHERS: &str = concat!(
    r"(?i)^(?:",
    // Telephone numbers.
    r"(?:\+?[01][ *\-.)]*)?(?:\(?\d{3}[ *\-.)]*)?\d{3}[ *\-.)]*\d{4}",
    // Emoticons.
    r"|[<>]?[:;=8][\-o*']?[)\](\[dp/:}{@|\\]|[)\](\[dp/:}{@|\\][\-o*']?[:;=8][<>]?|<3",
    // HTML tags and arrows.
    r"|<[^>\s]+>|-+>|<-+",
    // User names, hashtags and addresses.
    r"|@\w+|#+\w+[\w'\-]*\w+|[\w.+\-]+@[\w\-]+\.(?:[\w\-]\.?)+[\w\-]",
    // Words with apostrophes or hyphens, numbers, other words, and ellipses.
    r"|[^\W\d_](?:[^\W\d_]|['\-_])+[^\W\d_]|[+\-]?\d+[,/.:\-]\d+[+\-]?|\w+|\.(?:\s*\.)+",
    r"|\S)",
);

/// Normalizes tweets as `BertweetTokenizer(normalization=True)` of `transformers` does with the package `emoji` 0.6.0.
pub(crate) struct TweetNormalizer {
    link: SysRegex,
    host: SysRegex,
    others: SysRegex,
    emoji: HashMap<&'static str, &'static str>,
    entities: HashMap<&'static str, &'static str>,
}

impl TweetNormalizer {
    pub(crate) fn new() -> Result<Self> {
        let table = |text: &'static str| text.lines().filter_map(|line| line.split_once(' ')).collect();
        Ok(Self {
            link: SysRegex::new(LINK)?,
            host: SysRegex::new(HOST)?,
            others: SysRegex::new(OTHERS)?,
            emoji: table(EMOJI),
            entities: table(ENTITIES),
        })
    }

    /// A tweet, or a word of it, with single spaces between tokens.
    pub(crate) fn normalize(&self, tweet: &str) -> String {
        let text = tweet.replace('’', "'").replace('…', "...");
        let text = shortened(&self.without_entities(&text));
        let tokens: Vec<String> = self
            .tokens(&text)
            .into_iter()
            .map(|token| self.token(token))
            .collect();
        let mut text = tokens.join(" ");
        for (part, replacement) in [
            ("cannot ", "can not "),
            ("n't ", " n't "),
            ("n 't ", " n't "),
            ("ca n't", "can't"),
            ("ai n't", "ain't"),
            ("'m ", " 'm "),
            ("'re ", " 're "),
            ("'s ", " 's "),
            ("'ll ", " 'll "),
            ("'d ", " 'd "),
            ("'ve ", " 've "),
            (" p . m .", "  p.m."),
            (" p . m ", " p.m "),
            (" a . m .", " a.m."),
            (" a . m ", " a.m "),
        ] {
            text = text.replace(part, replacement);
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ")
    }

    fn tokens<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(next) = text.get(at..).and_then(|rest| rest.chars().next()) {
            match self.token_end(text, at) {
                Some(end) => {
                    tokens.extend(text.get(at..end));
                    at = end;
                }
                None => at += next.len_utf8(),
            }
        }
        tokens
    }

    /// The end of the token that starts at a byte.
    fn token_end(&self, text: &str, at: usize) -> Option<usize> {
        let (before, rest) = text.split_at_checked(at)?;
        let length = length(&self.link, rest)
            .or_else(|| self.host(before, rest))
            .or_else(|| length(&self.others, rest));
        length.filter(|length| *length > 0).map(|length| at + length)
    }

    /// The length of a host name, which is not part of an address.
    fn host(&self, before: &str, rest: &str) -> Option<usize> {
        if before.ends_with('@') {
            return None;
        }
        let end = length(&self.host, rest)?;
        let (host, after) = rest.split_at_checked(end)?;
        if !after.starts_with('@') {
            return Some(end);
        }
        if host.ends_with('/') {
            return Some(end - 1);
        }
        let dot = host.rfind('.')?;
        length(&self.host, rest.get(..dot)?)
    }

    fn token(&self, token: &str) -> String {
        let lowercase = token.to_lowercase();
        if token.starts_with('@') {
            return "@USER".to_owned();
        }
        if lowercase.starts_with("http") || lowercase.starts_with("www") {
            return "HTTPURL".to_owned();
        }
        match (token, self.emoji.get(token)) {
            (_, Some(name)) => format!(":{name}:"),
            // From character references.
            ("’", _) => "'".to_owned(),
            ("…", _) => "...".to_owned(),
            ("\u{fe0f}", _) => String::new(),
            _ => token.to_owned(),
        }
    }

    /// The text with the characters that HTML's references stand for. References that stand for none are removed.
    fn without_entities(&self, text: &str) -> String {
        let mut found = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('&') {
            found.push_str(before);
            let end = after
                .find(|c: char| c == '&' || c == ';' || c.is_whitespace())
                .filter(|&end| end > 0 && after[end..].starts_with(';'));
            if let Some(end) = end {
                found += &self.character(&after[..end]).unwrap_or_default();
                rest = &after[end + 1..];
            } else {
                found.push('&');
                rest = after;
            }
        }
        found + rest
    }

    /// The character of a reference, by its name or number.
    fn character(&self, reference: &str) -> Option<String> {
        let after_hash = reference.strip_prefix('#');
        let digits = after_hash.unwrap_or(reference);
        let hexadecimal = digits.strip_prefix('x').filter(|digits| !digits.is_empty());
        let number = match (hexadecimal, after_hash) {
            (Some(digits), _) => u32::from_str_radix(digits, 16).ok()?,
            (None, Some(digits)) => digits.parse().ok()?,
            (None, None) => {
                return self
                    .entities
                    .get(reference)
                    .map(|&character| character.to_owned());
            }
        };
        let windows = number
            .checked_sub(0x80)
            .and_then(|at| WINDOWS_1252.get(at as usize));
        let character = windows.copied().or_else(|| char::from_u32(number))?;
        (windows != Some(&'\0')).then(|| character.to_string())
    }
}

fn length(pattern: &SysRegex, text: &str) -> Option<usize> {
    pattern.find_iter(text).next().map(|(_, end)| end)
}

/// The text with at most three of the same character in a row, unless it is a letter or digit of ASCII.
fn shortened(text: &str) -> String {
    let mut run = (None, 0);
    let keeps = |&c: &char| {
        run = (Some(c), if run.0 == Some(c) { run.1 + 1 } else { 1 });
        run.1 <= 3 || c.is_ascii_alphanumeric()
    };
    text.chars().filter(keeps).collect()
}

/// The parts of the normalization that a `tokenizer.json` can state. It marks a tokenizer that normalizes tweets; other readers of
/// the file do these parts alone.
pub(crate) fn replacements() -> Result<NormalizerWrapper> {
    let pattern = |pattern: &str| ReplacePattern::Regex(pattern.to_owned());
    let replace = [
        Replace::new("’", "'")?,
        Replace::new("…", "...")?,
        Replace::new(pattern(r"@\w+"), "@USER")?,
        Replace::new(pattern(r"(?i)\b(?:https?://|www\.)\S+"), "HTTPURL")?,
    ];
    Ok(Sequence::new(replace.map(NormalizerWrapper::from).to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_normalized_as_in_python() {
        let normalizer = TweetNormalizer::new().unwrap();
        let cases: Vec<(String, String)> =
            serde_json::from_str(include_str!("tweet_normalizer/expected.json")).unwrap();
        for (text, expected) in &cases {
            assert_eq!(&normalizer.normalize(text), expected, "{text:?}");
        }
        assert!(cases.len() > 50);
    }

    #[test]
    fn a_long_word_is_normalized() {
        let normalizer = TweetNormalizer::new().unwrap();
        for unit in ["a.", "a-", "a.b/", "(a", "www.", "1-", "&a", "@a", "<-", "#a"] {
            let word = unit.repeat((1 << 12) / unit.len());
            assert!(!normalizer.normalize(&word).is_empty(), "{unit}");
        }
    }
}
