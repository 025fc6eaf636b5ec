//! A file's text becomes objects of the model: a pure function that never panics.

use std::marker::PhantomData;

use serde_saphyr::Spanned;

use super::error::ParseError;
use super::format::{Document, Format};
use super::manifest::{DocumentSeed, DocumentShape, Manifest};
use super::reduce::{self, Fault};
use crate::model::Object;

/// What a file says about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The line on which the object begins, from 1.
    pub line: u64,
    /// The object; none where it is not for a service load balancer, which a warning explains.
    pub object: Option<Object>,
    /// What was left out or replaced by a default.
    pub warnings: Vec<Warning>,
}

/// A part of a manifest that was left out or replaced by its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// Reads a file: `.json` is JSON, with several documents in a row if need be, and any other name is YAML,
/// with documents divided by `---`. A `v1` List stands for its items. The first error refuses the file.
pub fn parse(name: &str, text: &str) -> Result<Vec<Parsed>, ParseError> {
    let format = Format::of(name).unwrap_or(Format::Yaml);
    let mut parsed = Vec::new();
    for document in format.documents(text)? {
        parse_document(format, document, &mut parsed)?;
    }
    Ok(parsed)
}

fn parse_document(
    format: Format,
    document: Document<'_>,
    parsed: &mut Vec<Parsed>,
) -> Result<(), ParseError> {
    let shape = format.read(document, PhantomData::<Spanned<DocumentShape>>)?;
    let fault = |fault: Fault| ParseError { line: document.line(fault.line), reason: fault.reason };
    shape.value.check(shape.defined.line()).map_err(fault)?;
    for (line, manifest) in format.read(document, DocumentSeed(&shape))? {
        let mut warnings = Vec::new();
        let object = match manifest {
            Manifest::Service(service) => {
                reduce::service(line, &service, &mut warnings).map_err(fault)?.map(Object::Service)
            }
            Manifest::EndpointSlice(slice) => {
                reduce::endpoint_slice(line, &slice, &mut warnings).map_err(fault)?.map(Object::EndpointSlice)
            }
            Manifest::Unknown(type_name) => {
                let reason = format!("skipped: {type_name} is not a kind that is served");
                warnings.push(Fault { line, reason });
                None
            }
        };
        let warnings = warnings
            .into_iter()
            .map(|fault| Warning { line: document.line(fault.line), reason: fault.reason })
            .collect();
        parsed.push(Parsed { line: document.line(line), object, warnings });
    }
    Ok(())
}
