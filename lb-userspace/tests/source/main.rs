//! Tests of the manifest source: from files to events.

mod corpus;
mod directory;
mod endpoint_slice;
mod parse;
mod service;
mod watch;
mod weights;

use lb_userspace::model::{EndpointSlice, Object, Service};
use lb_userspace::source::Parsed;

/// Reads one YAML document and returns what it says.
fn parse_one(text: &str) -> Result<Parsed, String> {
    let parsed = lb_userspace::source::parse("test.yaml", text).map_err(|error| error.to_string())?;
    let [parsed] = <[Parsed; 1]>::try_from(parsed).expect("one object");
    Ok(parsed)
}

/// The warnings of an object, each as `line: reason`.
fn warnings(parsed: &Parsed) -> Vec<String> {
    parsed.warnings.iter().map(|warning| format!("{}: {}", warning.line, warning.reason)).collect()
}

/// A Service manifest with these lines in `spec`, which begin at line 4.
fn service_with(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec:\n  {spec}\n")
}

/// A Service without warnings.
fn service(text: &str) -> Service {
    let parsed = parse_one(text).expect("a well-formed manifest");
    assert_eq!(warnings(&parsed), Vec::<String>::new());
    let Some(Object::Service(service)) = parsed.object else { unreachable!("no Service in {text}") };
    service
}

/// An EndpointSlice manifest with these fields beside its metadata, which begin at line 8.
fn slice_with(metadata: &str, fields: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n  namespace: shop\n  \
         labels: {{kubernetes.io/service-name: web}}\n  {metadata}\n{fields}\n"
    )
}

/// The EndpointSlice that was read.
fn slice(parsed: Parsed) -> EndpointSlice {
    let Some(Object::EndpointSlice(slice)) = parsed.object else { unreachable!("no EndpointSlice") };
    slice
}
