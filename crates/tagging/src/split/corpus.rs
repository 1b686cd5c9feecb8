//! The words of social-media text, found in one pass.

#[cfg(test)]
use crate::split::class::lookups;
use crate::split::class::{CharClass, CharClasses};

/// The last part of a domain that is a link without `http://`.
const TOP_LEVEL_DOMAINS: [&str; 18] = [
    "com", "net", "org", "edu", "gov", "info", "co", "io", "ly", "tv", "me", "uk", "de", "fr", "ca", "au",
    "us", "biz",
];
const LONGEST_TOP_LEVEL_DOMAIN: usize = 4;

/// How far a rule looks for the end of a mailbox or of a domain, in bytes. The longest ones of mail have 64 and 255.
const LOOKAHEAD: usize = 1 << 12;

/// The length of the shortest word with a clitic, in bytes.
pub(super) const SHORTEST_WITH_CLITIC: usize = 3;
/// What follows the apostrophe of an English clitic.
const CLITICS: [&str; 6] = ["s", "m", "re", "ve", "ll", "d"];

/// The rules, in order of precedence: the first that matches at a position wins. No rule looks behind, and the last
/// matches any character, so the matches cover every character that is not white space.
///
/// A rule that looks far ahead and then fails remembers how far it looked, because it would fail, or end, in the same
/// place wherever it started within that stretch. So a character is looked at a bounded number of times, whatever the
/// text: this is the linear time that a regular expression of these rules does not have. Addresses and domains are found
/// within 4 KiB; longer ones are divided.
#[derive(Clone, Debug, Default)]
pub(super) struct CorpusRules {
    mail: MailAddress,
    domain: Domain,
    /// Up to here, no digits start a number with separators.
    no_number_until: usize,
}

/// The address that a stretch of mailbox characters belongs to.
#[derive(Clone, Debug, Default)]
struct MailAddress {
    /// The end of the stretch.
    until: usize,
    /// The end of the address; `None` if the stretch starts none.
    end: Option<usize>,
}

/// The domain in a stretch of host names that single full stops join.
#[derive(Clone, Debug, Default)]
struct Domain {
    /// The end of the stretch.
    until: usize,
    /// The last full stop before a top-level domain, and the end of that. A domain starts anywhere before the full
    /// stop.
    top_level: Option<(usize, usize)>,
}

impl CorpusRules {
    /// The end of the word that starts at `at`, where a character other than white space is. Positions must not
    /// decrease between calls.
    pub(super) fn word_end(&mut self, text: &str, at: usize) -> Option<usize> {
        let text = Text {
            text,
            classes: CharClasses::table(),
        };
        let first = text.char_at(at)?;
        let classes = text.classes.of(first);
        let is = |class| classes.contains(class);
        let mut end = None;
        if matches!(first, 'h' | 'H' | 'f' | 'F' | 'w' | 'W') {
            end = text.link(at);
        }
        if is(CharClass::MAILBOX) {
            end = end.or_else(|| self.mail.end(text, at));
        }
        if is(CharClass::HOST) {
            end = end.or_else(|| self.domain.end(text, at));
        }
        end = end.or_else(|| text.html_entity(at, first));
        end = end.or_else(|| text.emoticon(at, first));
        end = end.or_else(|| text.emoji(at, first));
        if is(CharClass::LETTER) {
            end = end.or_else(|| text.abbreviation(at));
        }
        if is(CharClass::NUMBER) {
            end = end.or_else(|| self.number(text, at));
        }
        let after = at + first.len_utf8();
        if is(CharClass::IDEOGRAPH) {
            // Each ideograph is a word, as in BERT's tokenizer.
            end = end.or_else(|| Some(text.run(after, CharClass::MARK)));
        }
        if is(CharClass::WORD) {
            end = end.or_else(|| Some(text.joined_words(at)));
        }
        end.or_else(|| Some(text.punctuation(at, first)))
    }

    /// Numbers with their separators: 30,000 7:30 1.5 24/7.
    fn number(&mut self, text: Text, at: usize) -> Option<usize> {
        if at < self.no_number_until {
            return None;
        }
        let digits = text.run(at, CharClass::NUMBER);
        let mut end = digits;
        while matches!(text.byte_at(end), Some(b'.' | b',' | b':' | b'/'))
            && text.is(end + 1, CharClass::NUMBER)
        {
            end = text.run(end + 1, CharClass::NUMBER);
        }
        if end == digits {
            self.no_number_until = digits;
        }
        (end > digits).then_some(end)
    }
}

impl MailAddress {
    /// The end of the address that starts at `at`, where a mailbox character is.
    fn end(&mut self, text: Text, at: usize) -> Option<usize> {
        if at >= self.until {
            let text = text.ahead(at);
            self.until = text.run(at, CharClass::MAILBOX);
            self.end = text.mail_domain(self.until);
        }
        self.end
    }
}

impl Domain {
    /// The end of the domain, and of the path after it, that starts at `at`, where a character of a host name is.
    fn end(&mut self, text: Text, at: usize) -> Option<usize> {
        if at >= self.until {
            let text = text.ahead(at);
            self.top_level = None;
            self.until = text.run(at, CharClass::HOST);
            while text.byte_at(self.until) == Some(b'.') && text.is(self.until + 1, CharClass::HOST) {
                let (stop, part) = (self.until, self.until + 1);
                self.top_level = text
                    .top_level_domain(part)
                    .map(|end| (stop, end))
                    .or(self.top_level);
                self.until = text.run(part, CharClass::HOST);
            }
        }
        let (_, end) = self.top_level.filter(|(stop, _)| at < *stop)?;
        let path = (text.byte_at(end) == Some(b'/')).then(|| text.link_rest(end + 1));
        path.flatten().or(Some(end))
    }
}

/// The end of a word that most words are like: of ASCII letters and digits, starting with a letter, or a punctuation mark, and no
/// rule extends or divides it. `None` if that takes a closer look.
pub(super) fn plain_word(text: &str, at: usize) -> Option<usize> {
    let (first, rest) = text.as_bytes().get(at..)?.split_first()?;
    match (first, rest.first()) {
        (b'"' | b'$' | b',' | b'/' | b'@' | b'\\' | b'`' | b'{' | b'|' | b'}' | b'\'', _) => Some(at + 1),
        // A keycap continues with a character outside ASCII.
        (b'#', next) if next.is_none_or(u8::is_ascii) => Some(at + 1),
        (b'(' | b')' | b'[' | b']', next) if !matches!(next, Some(b'-' | b'\'' | b':' | b';' | b'=')) => {
            Some(at + 1)
        }
        (b'a'..=b'z' | b'A'..=b'Z', _) => {
            let length = rest.iter().position(|byte| !byte.is_ascii_alphanumeric());
            let length = length.unwrap_or(rest.len());
            let ends = matches!(
                rest.get(length),
                None | Some(
                    b' ' | b'\n'
                        | b'\r'
                        | b'\t'
                        | b','
                        | b';'
                        | b'!'
                        | b'?'
                        | b'('
                        | b')'
                        | b'"'
                        | b'#'
                        | b'/'
                )
            );
            ends.then_some(at + 1 + length)
        }
        _ => None,
    }
}

/// The ASCII letter, in lower case, that a character is, with or without regard to case; any other character as it is.
fn fold(c: char) -> char {
    match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    }
}

/// A text and the classes of its characters.
#[derive(Clone, Copy)]
struct Text<'t> {
    text: &'t str,
    classes: &'static CharClasses,
}

impl<'t> Text<'t> {
    /// The text up to the end of what a rule looks at from `at` on.
    fn ahead(self, at: usize) -> Self {
        let end = self.text.floor_char_boundary(at.saturating_add(LOOKAHEAD));
        Self {
            text: self.text.get(..end).unwrap_or(self.text),
            classes: self.classes,
        }
    }

    fn from(self, at: usize) -> &'t str {
        self.text.get(at..).unwrap_or_default()
    }

    fn byte_at(self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn char_at(self, at: usize) -> Option<char> {
        self.from(at).chars().next()
    }

    fn is(self, at: usize, class: CharClass) -> bool {
        self.char_at(at).is_some_and(|c| self.classes.is(c, class))
    }

    /// The end of the characters of a class from `at` on.
    fn run(self, at: usize, class: CharClass) -> usize {
        self.run_while(at, |c| self.classes.is(c, class))
    }

    fn run_while(self, at: usize, belongs: impl Fn(char) -> bool) -> usize {
        let rest = self.from(at);
        let other = rest.find(|c| {
            #[cfg(test)]
            lookups::count();
            !belongs(c)
        });
        at + other.unwrap_or(rest.len())
    }

    /// The end of `prefix`, which is in lower case, if the text continues with it.
    fn after_prefix(self, at: usize, prefix: &str) -> Option<usize> {
        let mut chars = self.from(at).chars();
        let mut end = at;
        for expected in prefix.chars() {
            let c = chars.next().filter(|c| fold(*c) == expected)?;
            end += c.len_utf8();
        }
        Some(end)
    }

    /// Links, without trailing punctuation of the sentence.
    fn link(self, at: usize) -> Option<usize> {
        let prefixes = ["https://", "http://", "ftp://", "www."];
        let start = prefixes.iter().find_map(|prefix| self.after_prefix(at, prefix))?;
        self.link_rest(start)
    }

    /// The end of the rest of a link; `None` if it is empty without trailing punctuation.
    fn link_rest(self, at: usize) -> Option<usize> {
        let end = self.run_while(at, |c| !self.classes.is(c, CharClass::LINK_END));
        let link = self.text.get(at..end)?;
        let link = link.trim_end_matches(|c| self.classes.is(c, CharClass::LINK_TRAIL));
        (!link.is_empty()).then_some(at + link.len())
    }

    /// The end of an address whose mailbox ends at `at`.
    fn mail_domain(self, at: usize) -> Option<usize> {
        let host =
            (self.byte_at(at) == Some(b'@') && self.is(at + 1, CharClass::MAIL_DOMAIN)).then_some(at + 1)?;
        let first = self.run(host, CharClass::MAIL_DOMAIN);
        let mut end = first;
        while self.byte_at(end) == Some(b'.') && self.is(end + 1, CharClass::MAIL_DOMAIN) {
            end = self.run(end + 1, CharClass::MAIL_DOMAIN);
        }
        (end > first).then_some(end)
    }

    /// The end of a top-level domain that starts at `at` and ends at a word boundary.
    fn top_level_domain(self, at: usize) -> Option<usize> {
        let letters = self.from(at).chars().take(LONGEST_TOP_LEVEL_DOMAIN + 1);
        let word = letters
            .take_while(|c| self.classes.is(*c, CharClass::BOUND))
            .count();
        let mut domains = TOP_LEVEL_DOMAINS.iter().filter(|domain| domain.len() == word);
        domains.find_map(|domain| self.after_prefix(at, domain))
    }

    /// HTML entities in scraped text.
    fn html_entity(self, at: usize, first: char) -> Option<usize> {
        let rest = self.text.as_bytes().get(at + 1..).filter(|_| first == '&')?;
        let leading = |rest: &[u8], longest: usize, belongs: fn(&u8) -> bool| {
            rest.iter()
                .take(longest + 1)
                .take_while(|byte| belongs(byte))
                .count()
        };
        let length = match rest.first()? {
            b'#' => Some(leading(rest.get(1..)?, 7, u8::is_ascii_digit))
                .filter(|digits| (1..=7).contains(digits))
                .map(|digits| digits + 1),
            _ => Some(leading(rest, 8, u8::is_ascii_alphabetic)).filter(|letters| (2..=8).contains(letters)),
        }?;
        (rest.get(length) == Some(&b';')).then_some(at + length + 2)
    }

    /// Emoticons: eyes first, hearts, mouth first, and faces such as -_- and ^^.
    fn emoticon(self, at: usize, first: char) -> Option<usize> {
        match first {
            ':' | ';' | '=' => {
                let nose = matches!(self.byte_at(at + 1), Some(b'-' | b'\'' | b'^' | b'o'));
                let with_nose = nose.then(|| self.mouth(at + 2)).flatten();
                with_nose.or_else(|| self.mouth(at + 1))
            }
            'x' | 'X' => {
                let end = self.run_while(at + 1, |c| c == 'D');
                (end > at + 1 && !self.is(end, CharClass::BOUND)).then_some(end)
            }
            '<' => {
                let threes = if self.byte_at(at + 1) == Some(b'/') {
                    at + 2
                } else {
                    at + 1
                };
                let end = self.run_while(threes, |c| c == '3');
                (end > threes).then_some(end)
            }
            ')' | '(' | '[' | ']' => {
                let nose = matches!(self.byte_at(at + 1), Some(b'-' | b'\''));
                let eyes = if nose { at + 2 } else { at + 1 };
                matches!(self.byte_at(eyes), Some(b':' | b';' | b'=')).then_some(eyes + 1)
            }
            '-' | '^' | '>' => {
                let mouth = self.run_while(at + 1, |c| matches!(c, '_' | '.'));
                let face = mouth > at + 1 && matches!(self.byte_at(mouth), Some(b'-' | b'^' | b'<'));
                if face {
                    return Some(mouth + 1);
                }
                let brows = self.run_while(at, |c| c == '^');
                (brows > at + 1).then_some(brows)
            }
            _ => None,
        }
    }

    /// The end of the mouth of an emoticon: a run of marks, or one letter.
    fn mouth(self, at: usize) -> Option<usize> {
        let is_mark = |c| {
            matches!(
                c,
                ')' | '(' | ']' | '[' | '|' | '/' | '\\' | '*' | '@' | '}' | '{' | '<' | '>'
            )
        };
        let end = self.run_while(at, is_mark);
        if end > at {
            return Some(end);
        }
        let letter = matches!(
            self.byte_at(at)?,
            b'D' | b'd' | b'P' | b'p' | b'O' | b'o' | b'S' | b's' | b'X' | b'x' | b'3'
        );
        (letter && !self.is(at + 1, CharClass::BOUND)).then_some(at + 1)
    }

    /// Emoji: flags, keycaps, and pictographs with their modifiers and joined parts.
    fn emoji(self, at: usize, first: char) -> Option<usize> {
        let after = at + first.len_utf8();
        if self.classes.is(first, CharClass::FLAG) && self.is(after, CharClass::FLAG) {
            return self.char_at(after).map(|c| after + c.len_utf8());
        }
        if matches!(first, '0'..='9' | '#' | '*') {
            let rest = self.from(after);
            let keycap = ["\u{fe0f}\u{20e3}", "\u{20e3}"];
            let keycap = keycap.iter().find(|keycap| rest.starts_with(**keycap));
            return keycap.map(|keycap| after + keycap.len());
        }
        if !self.classes.is(first, CharClass::PICTOGRAPH) {
            return None;
        }
        let mut end = self.run(after, CharClass::PICTOGRAPH_MODIFIER);
        while let Some(joined) = self.from(end).strip_prefix('\u{200d}') {
            let Some(part) = joined
                .chars()
                .next()
                .filter(|c| self.classes.is(*c, CharClass::PICTOGRAPH))
            else {
                break;
            };
            end = self.run(
                end + '\u{200d}'.len_utf8() + part.len_utf8(),
                CharClass::PICTOGRAPH_MODIFIER,
            );
        }
        Some(end)
    }

    /// Abbreviations with inner full stops: U.S., p.m.
    fn abbreviation(self, at: usize) -> Option<usize> {
        let (mut end, mut letters) = (at, 0);
        let mut chars = self.from(at).chars();
        while let Some(letter) = chars.next().filter(|c| self.classes.is(*c, CharClass::LETTER)) {
            if chars.next() != Some('.') {
                break;
            }
            end += letter.len_utf8() + 1;
            letters += 1;
        }
        (letters >= 2).then_some(end)
    }

    /// Words, with inner hyphens and apostrophes.
    fn joined_words(self, at: usize) -> usize {
        let mut end = self.run(at, CharClass::WORD);
        while let Some(joiner) = self
            .char_at(end)
            .filter(|c| self.classes.is(*c, CharClass::JOINER))
        {
            let word = end + joiner.len_utf8();
            let word_end = self.run(word, CharClass::WORD);
            if word_end == word {
                break;
            }
            end = word_end;
        }
        end
    }

    /// Runs of punctuation (... !!! ?! --), or any one character.
    fn punctuation(self, at: usize, first: char) -> usize {
        match first {
            '!' | '?' => self.run_while(at, |c| matches!(c, '!' | '?')),
            '.' | '…' | '-' | '*' | '~' | '=' => self.run_while(at, |c| c == first),
            _ => at + first.len_utf8(),
        }
    }
}

/// The length of a word without its English clitic.
pub(super) fn stem_length(word: &str) -> usize {
    let stem = CLITICS.iter().find_map(|clitic| {
        let (stem, end) = word.split_at_checked(word.len().checked_sub(clitic.len())?)?;
        let stem = stem
            .strip_suffix(['\'', '’'])
            .filter(|_| end.eq_ignore_ascii_case(clitic))?;
        stem.ends_with(char::is_alphanumeric).then_some(stem.len())
    });
    stem.unwrap_or(word.len())
}
