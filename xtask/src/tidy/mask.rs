//! Rust source with blanks for what is not code, so that a rule about words sees no comment and no string.

/// Replaces comments, and the content of string and character literals, by blanks. Lines keep their numbers.
pub(super) fn mask(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    while let Some(letter) = rest.chars().next() {
        let after_word = code.ends_with(is_word);
        let length = skipped(rest, after_word).unwrap_or(0);
        let (blank, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if blank.is_empty() {
            code.push(letter);
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        } else {
            code.extend(blank.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

/// Whether a letter can be a part of a name.
pub(super) fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The length of the comment or literal that starts here, if one does. One without an end goes to the end.
fn skipped(text: &str, after_word: bool) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    if let Some(string) = text.strip_prefix('"') {
        return Some(1 + until_quote(string, '"'));
    }
    if let Some(character) = text.strip_prefix('\'') {
        return is_character(character).then(|| 1 + until_quote(character, '\''));
    }
    // `r"` and `r#"`, also after the `b` or `c` of a byte or C string, but not at the end of a name.
    let raw = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let start = text.len() - raw.len() + hashes;
    let content = raw.trim_start_matches('#').strip_prefix('"').filter(|_| !after_word)?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(content.find(&end).map_or(text.len(), |at| start + 1 + at + end.len()))
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let step = match rest {
            _ if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length up to and with the quote that ends a literal.
fn until_quote(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// After an apostrophe: `a'` is a character, `a, T` and `a ` follow the apostrophe of a lifetime.
fn is_character(text: &str) -> bool {
    let mut letters = text.chars();
    match letters.next() {
        Some('\\') => true,
        Some(_) => letters.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_code_stays() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("a /* b\nc */ d", "a     \n     d"),
            (r#"f("x \" y") + 1"#, "f(        ) + 1"),
            (r##"r#"a " b"# + c"##, "           + c"),
            (r##"br#"a"# + c"##, "        + c"),
            ("'x' + '\\'' + y", "    +      + y"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("for\"x\"", "for   "),
            ("\"no end", "       "),
            ("/* no end", "         "),
            ("r#\"no end", "         "),
            ("r#type", "r#type"),
            ("'é' é", "    é"),
        ];
        for (source, expected) in cases {
            assert_eq!(mask(source), expected, "{source}");
        }
    }
}
