//! Any bytes are refused or decided, in bounded time; and what is granted obeys the laws.

#![no_main]

use capability_manifest::{
    Capability, Diagnostic, Files, Form, HostCapability, ManifestText, ProjectBuilder, explain, parse, print,
    resolve,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut files = Files::default();
    let Ok(text) = ManifestText::from_bytes("fuzz", bytes.to_vec()) else { return };
    let file = files.add(text);
    if let Err(errors) = parse(file, files.get(file), Form::CargoToml) {
        for error in &errors {
            let _ = Diagnostic::of_manifest_error(error);
        }
    }
    let manifest = match parse(file, files.get(file), Form::Standalone) {
        Ok(manifest) => manifest,
        Err(errors) => {
            assert!(!errors.is_empty());
            return;
        }
    };
    // What is printed says the same.
    let mut printed_files = Files::default();
    let printed = print::manifest(&manifest);
    let printed_file =
        printed_files.add(ManifestText::from_bytes("printed", printed.into()).expect("no larger"));
    match parse(printed_file, printed_files.get(printed_file), Form::Standalone) {
        Ok(again) => assert!(again == manifest, "printed as:\n{}", printed_files.get(printed_file)),
        Err(errors) => panic!("{}\n{}", errors[0].kind, printed_files.get(printed_file)),
    }
    let project = match ProjectBuilder::standalone(files, manifest) {
        Ok(project) => project,
        Err((_, errors)) => {
            for error in &errors {
                let _ = Diagnostic::of_project_error(error);
            }
            return;
        }
    };
    let resolution = resolve(&project);
    for denial in resolution.denials() {
        let _ = Diagnostic::of_denial(&project, denial);
    }
    for warning in resolution.warnings() {
        let _ = Diagnostic::of_warning(&project, warning);
    }
    let trace = resolution.trace();
    if let Some(graph) = resolution.granted(&project) {
        for flow in trace.flows() {
            assert!(trace.holder(flow.from).authority.covers(&flow.authority), "authority grew");
        }
        assert!(graph.compartments().len() <= capability_manifest::limits::COMPARTMENTS_MAX);
    }
    if let Some(index) = project.crates().last() {
        let _ =
            explain(&project, &resolution, index, None, &Capability::host(HostCapability::FilesystemRead));
    }
});
