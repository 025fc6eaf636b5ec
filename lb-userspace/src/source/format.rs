//! The two formats of manifests, YAML and JSON, each cut into documents and handed to serde.

use serde::de::DeserializeSeed;
use serde_saphyr::SnippetMode;

use super::error::ParseError;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Yaml,
    Json,
}

/// One document of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    /// Line of the file on which the text begins, from 1.
    first_line: u64,
}

impl Document<'_> {
    /// The line of the file for a line of the document; 0, a place that serde does not tell, is its first.
    pub(super) const fn line(&self, relative: u64) -> u64 {
        self.first_line + relative.saturating_sub(1)
    }
}

impl Format {
    /// The format that the extension of a file name says, if it is one of manifests.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// The documents of a file that are not blank.
    pub(super) fn documents(self, text: &str) -> Result<Vec<Document<'_>>, ParseError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self {
            Self::Yaml => Ok(yaml_documents(text)),
            Self::Json => json_documents(text),
        }
    }

    /// Deserializes a document.
    pub(super) fn read<'de, S>(self, document: Document<'de>, seed: S) -> Result<S::Value, ParseError>
    where
        S: DeserializeSeed<'de>,
    {
        match self {
            Self::Yaml => {
                let options = yaml_options();
                serde_saphyr::with_deserializer_from_str_with_options(
                    document.text,
                    options,
                    |deserializer| seed.deserialize(deserializer),
                )
                .map_err(|error| yaml_error(document, &error))
            }
            Self::Json => {
                let mut deserializer = serde_json::Deserializer::from_str(document.text);
                let value = seed.deserialize(&mut deserializer);
                value
                    .and_then(|value| deserializer.end().map(|()| value))
                    .map_err(|error| json_error(document, &error))
            }
        }
    }
}

/// A line that begins with `---` or `...` ends a document wherever it stands, even in a block scalar or a
/// quoted one (YAML 1.2.2, `c-forbidden`), so documents can be cut without parsing them.
fn yaml_documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut begin, mut offset) = (0, 0);
    let (mut first_line, mut line) = (1, 1);
    let mut push = |begin: usize, end: usize, first_line: u64| {
        let text = text.get(begin..end).unwrap_or_default();
        if !is_blank(text) {
            documents.push(Document { text, first_line });
        }
    };
    for content in text.split_inclusive('\n') {
        let next = offset + content.len();
        if is_marker(content, "---") {
            push(begin, offset, first_line);
            (begin, first_line) = (offset, line);
        } else if is_marker(content, "...") {
            push(begin, offset, first_line);
            (begin, first_line) = (next, line + 1);
        }
        offset = next;
        line += 1;
    }
    push(begin, text.len(), first_line);
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Only comments, directives and a bare `---`.
fn is_blank(document: &str) -> bool {
    document.lines().all(|line| {
        let line = if is_marker(line, "---") { line.get(3..).unwrap_or_default() } else { line };
        let line = line.trim();
        line.is_empty() || line.starts_with(['#', '%'])
    })
}

/// The parser's limits: none on what the size of the file limits already, and a tighter one on what aliases
/// multiply, which manifests hardly use.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
        },
    }
}

fn yaml_error(document: Document<'_>, error: &serde_saphyr::Error) -> ParseError {
    let mut options = serde_saphyr::RenderOptions::default();
    options.snippets = SnippetMode::Off;
    let text = error.render_with_options(options);
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((0, 0), |location| (location.line(), location.column()));
    reason(document, &text, line, column)
}

fn json_documents(text: &str) -> Result<Vec<Document<'_>>, ParseError> {
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let (mut begin, mut first_line) = (0, 1);
    loop {
        // Up to the document, so that its first line is the one that it stands on.
        let rest = text.get(begin..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start().len();
        let (space, rest) = rest.split_at(blank);
        first_line += newlines(space);
        match stream.next() {
            None => return Ok(documents),
            Some(Err(error)) => {
                let whole = Document { text, first_line: 1 };
                return Err(json_error(whole, &error));
            }
            Some(Ok(_)) => {
                let end = stream.byte_offset();
                let text = rest.get(..end.saturating_sub(begin + blank)).unwrap_or_default();
                documents.push(Document { text, first_line });
                first_line += newlines(text);
                begin = end;
            }
        }
    }
}

fn newlines(text: &str) -> u64 {
    text.bytes().filter(|byte| *byte == b'\n').count() as u64
}

fn json_error(document: Document<'_>, error: &serde_json::Error) -> ParseError {
    reason(document, &error.to_string(), error.line() as u64, error.column() as u64)
}

/// Both libraries end their messages with the place, which counts from the document and is told apart here.
fn reason(document: Document<'_>, text: &str, line: u64, column: u64) -> ParseError {
    let place = format!(" at line {line}, column {column}");
    let place_json = format!(" at line {line} column {column}");
    let reason = text.strip_suffix(&place).or_else(|| text.strip_suffix(&place_json)).unwrap_or(text);
    ParseError { line: document.line(line), reason: reason.to_owned() }
}
