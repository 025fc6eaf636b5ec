//! A directory gives the differences between its readings, and goes on with the last good version of a file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lb_userspace::model::{Event, Model, Object, ObjectKey};
use lb_userspace::source::{Directory, FILE_SIZE_MAX, Reading, Severity, SourceError, read_once};
use tempfile::TempDir;

fn manifest(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"
    )
}

fn slice_manifest(name: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: \
         {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\n"
    )
}

fn write(directory: &TempDir, name: &str, text: impl AsRef<[u8]>) {
    fs::write(directory.path().join(name), text).expect("a file in a directory of the test's own");
}

/// The events in words: `+name:port` of a Service, `+name` of a slice, `-name` of what is gone.
fn events(reading: &Reading) -> Vec<String> {
    let event = |event: &Event| match event {
        Event::Apply(Object::Service(service)) => {
            let ports: Vec<_> = service.ports.iter().map(|port| port.port.to_string()).collect();
            format!("+{}:{}", service.key.name, ports.join(","))
        }
        Event::Apply(Object::EndpointSlice(slice)) => format!("+{}", slice.key.name),
        Event::DeleteService(key) | Event::DeleteEndpointSlice(key) => format!("-{}", key.name),
    };
    reading.events.iter().map(event).collect()
}

/// The problems without the path of the directory.
fn problems(directory: &TempDir, reading: &Reading) -> Vec<String> {
    let path = format!("{}/", directory.path().display());
    reading.problems.iter().map(|problem| problem.to_string().replace(&path, "")).collect()
}

const NOTHING: [&str; 0] = [];

/// A reading that finds nothing new.
fn assert_quiet(source: &mut Directory) {
    let reading = source.read();
    assert_eq!((events(&reading), reading.problems), (Vec::new(), Vec::new()));
}

#[test]
fn the_first_reading_is_the_full_state_and_then_come_differences() {
    let directory = TempDir::new().unwrap();
    write(&directory, "a.yaml", manifest("web", 80) + "---\n" + &slice_manifest("web-1"));
    write(&directory, "b.yaml", manifest("dns", 53));
    let mut source = Directory::open(directory.path()).unwrap();
    assert_eq!(events(&source.read()), ["+dns:53", "+web:80", "+web-1"]);
    assert_quiet(&mut source);

    write(&directory, "a.yaml", manifest("web", 81));
    write(&directory, "c.yml", manifest("new", 1));
    assert_eq!(events(&source.read()), ["+new:1", "+web:81", "-web-1"]);

    write(&directory, "a.yaml", "# a comment changes nothing\n".to_owned() + &manifest("web", 81));
    assert_quiet(&mut source);

    fs::remove_file(directory.path().join("b.yaml")).unwrap();
    assert_eq!(events(&source.read()), ["-dns"]);
    fs::rename(directory.path().join("a.yaml"), directory.path().join("z.yaml")).unwrap();
    assert_quiet(&mut source);
}

#[test]
fn a_malformed_file_keeps_its_last_good_version() {
    let directory = TempDir::new().unwrap();
    write(&directory, "a.yaml", manifest("web", 80) + "---\n" + &manifest("api", 90));
    write(&directory, "b.yaml", manifest("dns", 53));
    let mut source = Directory::open(directory.path()).unwrap();
    source.read();

    write(
        &directory,
        "a.yaml",
        manifest("web", 81) + "---\n" + &manifest("api", 90).replace("spec", "sp ec:"),
    );
    write(&directory, "b.yaml", manifest("dns", 54));
    let reading = source.read();
    assert_eq!(events(&reading), ["+dns:54"]);
    let [problem] = problems(&directory, &reading).try_into().unwrap();
    assert!(problem.starts_with("a.yaml:9: "), "{problem}");
    assert!(problem.ends_with("; its last good version is still served"), "{problem}");
    assert_eq!(reading.problems[0].severity, Severity::Error);
    assert_quiet(&mut source);

    write(&directory, "a.yaml", manifest("web", 82));
    assert_eq!(events(&source.read()), ["+web:82", "-api"]);
    assert_quiet(&mut source);
}

#[test]
fn a_file_that_never_was_good_serves_nothing() {
    let directory = TempDir::new().unwrap();
    write(&directory, "a.yaml", "kind: Service\n");
    write(&directory, "b.json", b"{\n\"a\": \xff}");
    write(&directory, "c.yaml", manifest("web", 80));
    let mut source = Directory::open(directory.path()).unwrap();
    let reading = source.read();
    assert_eq!(events(&reading), ["+web:80"]);
    assert_eq!(
        problems(&directory, &reading),
        ["a.yaml:1: missing field `apiVersion`", "b.json:2: not UTF-8 text"]
    );
}

#[test]
fn a_problem_is_told_when_it_appears_and_when_it_comes_back() {
    let directory = TempDir::new().unwrap();
    let unknown = "apiVersion: v1\nkind: Secret\n";
    write(&directory, "a.yaml", unknown);
    let mut source = Directory::open(directory.path()).unwrap();
    let reading = source.read();
    assert_eq!(problems(&directory, &reading), ["a.yaml:1: skipped: v1 Secret is not a kind that is served"]);
    assert_eq!(reading.problems[0].severity, Severity::Warning);
    assert_quiet(&mut source);
    write(&directory, "a.yaml", unknown.to_owned() + "---\n" + &manifest("web", 80));
    let reading = source.read();
    assert_eq!((events(&reading), reading.problems), (vec!["+web:80".to_owned()], Vec::new()));
    write(&directory, "a.yaml", manifest("web", 80));
    assert_quiet(&mut source);
    write(&directory, "a.yaml", unknown);
    assert_eq!(source.read().problems.len(), 1);
}

#[test]
fn the_first_file_by_name_has_an_object_that_is_in_two() {
    let directory = TempDir::new().unwrap();
    write(&directory, "b.yaml", manifest("dns", 53) + "---\n" + &manifest("web", 81));
    let mut source = Directory::open(directory.path()).unwrap();
    source.read();
    write(&directory, "a.yaml", manifest("web", 80));
    let reading = source.read();
    assert_eq!(events(&reading), ["+web:80"]);
    assert_eq!(
        problems(&directory, &reading),
        ["b.yaml:6: ignored: Service default/web is in a.yaml already"]
    );
    assert_quiet(&mut source);

    fs::remove_file(directory.path().join("a.yaml")).unwrap();
    assert_eq!(events(&source.read()), ["+web:81"]);
    write(&directory, "b.yaml", manifest("web", 1) + "---\n" + &manifest("web", 2));
    let reading = source.read();
    assert_eq!(events(&reading), ["+web:1", "-dns"]);
    assert_eq!(
        problems(&directory, &reading),
        ["b.yaml:6: ignored: Service default/web is in b.yaml already"]
    );
}

#[test]
fn a_service_and_a_slice_may_share_a_name() {
    let directory = TempDir::new().unwrap();
    write(&directory, "a.yaml", manifest("web", 80) + "---\n" + &slice_manifest("web"));
    let (model, problems) = read_once(directory.path()).unwrap();
    assert_eq!(problems, []);
    let (_, slices) = model.service(&ObjectKey::new("default", "web")).unwrap();
    assert_eq!(slices.len(), 1);
}

#[test]
fn an_empty_file_is_taken_for_one_that_is_being_written() {
    let directory = TempDir::new().unwrap();
    write(&directory, "a.yaml", "");
    let mut source = Directory::open(directory.path()).unwrap();
    assert_quiet(&mut source);
    write(&directory, "a.yaml", manifest("web", 80));
    source.read();
    write(&directory, "a.yaml", "");
    let reading = source.read();
    assert_eq!(events(&reading), NOTHING);
    let told = "a.yaml: the file is empty; what it held is served until it is removed or written again";
    assert_eq!(problems(&directory, &reading), [told]);
    write(&directory, "a.yaml", "# on purpose\n");
    assert_eq!(events(&source.read()), ["-web"]);
}

#[test]
fn a_half_written_file_ends_in_the_right_state() {
    let directory = TempDir::new().unwrap();
    let text = manifest("web", 80) + "---\n" + &manifest("api", 90);
    let mut source = Directory::open(directory.path()).unwrap();
    let mut model = Model::default();
    for end in 0..=text.len() {
        write(&directory, "a.yaml", &text[..end]);
        for event in source.read().events {
            model.apply(event);
        }
    }
    let (whole, _) = read_once(directory.path()).unwrap();
    for name in ["web", "api"] {
        let key = ObjectKey::new("default", name);
        assert!(whole.service(&key).is_some());
        assert_eq!(model.service(&key), whole.service(&key));
    }
}

#[test]
fn only_manifests_are_read() {
    let directory = TempDir::new().unwrap();
    for name in [".hidden.yaml", "a.yaml~", "a.yaml.swp", "notes.txt", "yaml", "#a.yaml#", "a.YAML.bak"] {
        write(&directory, name, manifest("no", 1));
    }
    fs::create_dir(directory.path().join("sub.yaml")).unwrap();
    fs::write(directory.path().join("sub.yaml/a.yaml"), manifest("no", 1)).unwrap();
    let mut source = Directory::open(directory.path()).unwrap();
    assert_quiet(&mut source);
}

#[test]
fn a_mounted_config_map_works() {
    let directory = TempDir::new().unwrap();
    let version = |name: &str, port| {
        fs::create_dir(directory.path().join(name)).unwrap();
        fs::write(directory.path().join(name).join("web.yaml"), manifest("web", port)).unwrap();
        symlink(name, directory.path().join("..data_tmp")).unwrap();
        fs::rename(directory.path().join("..data_tmp"), directory.path().join("..data")).unwrap();
    };
    version("..1", 80);
    symlink("..data/web.yaml", directory.path().join("web.yaml")).unwrap();
    let mut source = Directory::open(directory.path()).unwrap();
    assert_eq!(events(&source.read()), ["+web:80"]);
    version("..2", 81);
    assert_eq!(events(&source.read()), ["+web:81"]);
}

#[test]
fn a_dangling_link_and_a_vast_file_keep_the_last_good_version() {
    let directory = TempDir::new().unwrap();
    write(&directory, "target", manifest("web", 80));
    symlink("target", directory.path().join("a.yaml")).unwrap();
    write(&directory, "b.yaml", manifest("dns", 53));
    let mut source = Directory::open(directory.path()).unwrap();
    source.read();
    fs::remove_file(directory.path().join("target")).unwrap();
    let file = fs::File::options().write(true).open(directory.path().join("b.yaml")).unwrap();
    file.set_len(FILE_SIZE_MAX + 1).unwrap();
    let reading = source.read();
    assert_eq!(events(&reading), NOTHING);
    let told = problems(&directory, &reading);
    assert!(told[0].starts_with("a.yaml: cannot read the file: No such file"), "{told:?}");
    assert_eq!(told[1..], ["b.yaml: the file has more than 67108864 bytes"]);
    write(&directory, "target", manifest("web", 81));
    assert_eq!(events(&source.read()), ["+web:81"]);
}

#[test]
fn a_change_with_an_old_time_stamp_is_seen() {
    let directory = TempDir::new().unwrap();
    let old = SystemTime::now() - Duration::from_secs(3600);
    let put = |port| {
        write(&directory, "a.yaml", manifest("web", port));
        let file = fs::File::options().write(true).open(directory.path().join("a.yaml")).unwrap();
        file.set_modified(old).unwrap();
    };
    put(80);
    let mut source = Directory::open(directory.path()).unwrap();
    source.read();
    put(81);
    assert_eq!(events(&source.read()), ["+web:81"]);
}

#[test]
fn the_directory_must_be_there_at_the_start_and_may_go_later() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("manifests");
    let error = Directory::open(&path).unwrap_err();
    assert!(matches!(error, SourceError::Unreadable { .. }));
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot read the manifest directory {}: No such", path.display()))
    );
    fs::write(&path, "").unwrap();
    Directory::open(&path).unwrap_err();
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), manifest("web", 80)).unwrap();
    let mut source = Directory::open(&path).unwrap();
    source.read();
    fs::remove_dir_all(&path).unwrap();
    let reading = source.read();
    assert_eq!(events(&reading), NOTHING);
    assert_eq!(reading.problems.len(), 1);
    assert_quiet(&mut source);
    fs::create_dir(&path).unwrap();
    assert_eq!(events(&source.read()), ["-web"]);
}

#[test]
fn the_examples_are_well_formed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let (model, problems) = read_once(&path).unwrap();
    assert_eq!(problems, []);
    let (service, slices) = model.service(&ObjectKey::new("default", "echo")).unwrap();
    assert_eq!(
        service.ports.iter().map(|port| port.node_port).collect::<Vec<_>>(),
        [Some(30080), Some(30053)]
    );
    for slice in &slices {
        assert_eq!(slice.ports.len(), service.ports.len());
        let weights: Vec<_> = slice.endpoints.iter().map(|endpoint| endpoint.weight).collect();
        assert_eq!(weights, [Some(50), Some(30), Some(20)], "{}", slice.key);
        assert_eq!(slice.endpoints[2].node_name.as_deref(), Some("node-1"));
    }
    assert_eq!(slices.len(), 2);
}
