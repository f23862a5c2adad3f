//! `why`, `report`, `diff` and the states of `audit`, run as a user runs them.

mod harness;

use std::path::Path;

use harness::{Run, Workspace};
use serde_json::Value;

fn workspace(app: &str, codec: &str, util: &str) -> Workspace {
    let workspace = Workspace::three_crates();
    workspace.write("app/src/lib.rs", app);
    workspace.write("codec/src/lib.rs", codec);
    workspace.write("util/src/lib.rs", util);
    workspace
}

fn run(workspace: &Workspace, arguments: &[&str]) -> Run {
    run_in(workspace.path(), arguments, &workspace.path().join("cache"), &[])
}

fn run_in(folder: &Path, arguments: &[&str], cache: &Path, variables: &[(&str, &str)]) -> Run {
    let mut all = vec![("COFFERDAM_CACHE", cache.to_str().expect("UTF-8"))];
    all.extend(variables);
    harness::cofferdam_with(folder, arguments, &all)
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

/// `app` uses `codec::load`, which opens a socket in `util`; nobody uses `codec::spare`, and `codec::windows` is for Windows.
fn states() -> Workspace {
    workspace(
        "pub fn f() { codec::load() }",
        "pub fn load() { util::fetch() }\n\
         pub fn spare() { let _ = std::process::Command::new(\"sh\"); }\n\
         #[cfg(windows)] pub fn windows() { let _ = std::fs::read(\"x\"); }\n",
        "pub fn fetch() { let _ = std::net::TcpStream::connect(\"a.example:80\"); }",
    )
}

#[test]
fn why_prints_the_way_over_an_edge() {
    let workspace = states();
    let why = run(&workspace, &["why", "app -> codec", "network.connect"]);
    assert_eq!(why.code, Some(0), "{why}");
    assert_eq!(
        why.stdout,
        "app -> codec: network.connect, used here\n\
         \x20 app: f (src/lib.rs:1)\n\
         \x20 -> codec: load (src/lib.rs:1)\n\
         \x20 -> util: fetch (src/lib.rs:1)\n\
         \x20 -> `std::net::TcpStream::connect`\n\
         \x20 nothing is declared yet; `cofferdam init` writes what is reached now\n\n"
    );
    assert_eq!(run(&workspace, &["init"]).code, Some(0));
    let granted = json(&run(&workspace, &["why", "app -> codec", "network", "--format", "json"]));
    let named: Vec<&str> = granted["reaches"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["capability"].as_str().expect("text"))
        .collect();
    assert!(named.contains(&"network.connect"), "{granted}");
    assert!(
        granted["reaches"].as_array().expect("a list").iter().all(|one| one["granted"] == true),
        "{granted}"
    );
}

#[test]
fn why_tells_the_states_apart() {
    let workspace = states();
    for (capability, state) in
        [("network.connect", "used"), ("process.spawn", "compiled"), ("filesystem.read", "other-cfg")]
    {
        let why = json(&run(&workspace, &["why", "codec", capability, "--format", "json"]));
        assert_eq!(why["reaches"][0]["state"], state, "{why}");
        assert!(!why["reaches"][0]["way"].as_array().expect("a list").is_empty(), "{why}");
    }
    let absent = run(&workspace, &["why", "codec", "mmap.file"]);
    assert_eq!(absent.code, Some(0), "{absent}");
    assert_eq!(
        absent.stdout,
        "codec does not reach mmap.file, in any state\n\
         it reaches network.connect, used here\n\
         it reaches process.spawn, compiled but not used\n\
         it reaches filesystem.read, only under another cfg\n",
        "also what its edges bring"
    );
    let nothing = run(&self::workspace("", "", ""), &["why", "codec", "clock"]);
    assert_eq!(
        nothing.stdout, "codec does not reach clock, in any state\nit reaches nothing that needs a grant\n",
        "{nothing}"
    );
    let audit = run(&workspace, &["audit", "codec"]);
    for line in [
        "process.spawn, compiled but not used",
        "filesystem.read, only under another cfg",
        "is brought by `util` network.connect",
    ] {
        assert!(audit.stdout.contains(line), "{line}: {audit}");
    }
}

#[test]
fn why_says_what_is_wrong_with_the_question() {
    let workspace = states();
    for (arguments, message) in [
        (["why", "app -> util", "clock"], "`app` does not depend on `util` directly"),
        (["why", "app -> codek", "clock"], "there is no crate `codek` in the graph; did you mean `codec`?"),
        (["why", "app", "network.conect"], "did you mean `network.connect`?"),
        (["why", "app", "x y"], "`cofferdam explain capabilities` lists them"),
    ] {
        let why = run(&workspace, &arguments);
        assert_eq!(why.code, Some(2), "{why}");
        assert!(why.stderr.contains(message), "{why}");
    }
}

#[test]
fn the_page_holds_all_it_needs() {
    let workspace = states();
    // A name that would end the script, were it written as it is.
    workspace
        .write("app/src/lib.rs", "#[path = \"<!--<script>.rs\"] pub mod odd; pub fn f() { codec::load() }");
    workspace.write("app/src/<!--<script>.rs", "pub fn g() { let _ = std::fs::read(\"x\"); }");
    let page = run(&workspace, &["report"]);
    assert_eq!(page.code, Some(0), "{}", page.stderr);
    let page = page.stdout;
    for word in ["http://www.w3.org/2000/svg", "default-src 'none'"] {
        assert!(page.contains(word), "{word}");
    }
    let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
    for word in [
        "http:",
        "https:",
        "//cdn",
        " src=",
        "<link",
        "@import",
        "url(http",
        "fetch(",
        "XMLHttpRequest",
        "innerHTML",
        "eval(",
    ] {
        assert!(!without_namespace.contains(word), "the page names {word}");
    }
    assert_eq!(page.matches("<script").count(), 2, "the data and the script, nothing else");
    let data = page
        .split("<script id=\"data\" type=\"application/json\">")
        .nth(1)
        .and_then(|rest| rest.split("</script>").next())
        .expect("the data");
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data, json(&run(&workspace, &["report", "--format", "json"])));
    let odd = data["crates"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|of| of["uses"].as_array().expect("a list"))
        .flat_map(|reach| reach["way"].as_array().expect("a list"))
        .any(|place| place["file"] == "src/<!--<script>.rs");
    assert!(odd, "the name itself is kept: {data}");
}

#[test]
fn the_report_names_every_state_and_what_is_not_granted() {
    let workspace = states();
    let before = json(&run(&workspace, &["report", "--format", "json"]));
    assert_eq!(before["declared"], false);
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
    let report = json(&run(&workspace, &["report", "--format", "json"]));
    let edge = report["edges"].as_array().expect("a list").iter().find(|edge| edge["from"] == "app@0.1.0");
    let brings = edge.expect("the edge")["brings"].as_array().expect("a list");
    let connect = brings.iter().find(|one| one["capability"] == "network.connect").expect("found");
    assert_eq!((&connect["state"], &connect["granted"]), (&Value::from("used"), &Value::from(false)));
    let markdown = run(&workspace, &["report", "--format", "markdown"]);
    assert!(markdown.stdout.contains("| error `reach-not-granted` |"), "{markdown}");
    assert!(markdown.stdout.contains("| app → codec | `network.connect` **(not granted)** |"), "{markdown}");
}

#[test]
fn sarif_has_the_structure_that_its_standard_requires() {
    let workspace = states();
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
    for arguments in [["check", "--format", "sarif"], ["report", "--format", "sarif"]] {
        let document = json(&run(&workspace, &arguments));
        let results = validate_sarif(&document);
        assert!(results > 0, "{document}");
    }
    let report = json(&run(&workspace, &["report", "--format", "sarif"]));
    let rules = &report["runs"][0]["results"];
    let rules: Vec<&Value> = rules.as_array().expect("a list").iter().map(|one| &one["ruleId"]).collect();
    assert!(rules.contains(&&Value::from("reaches/network.connect")), "{rules:?}");
}

/// The rules of SARIF 2.1.0 (OASIS, 27 March 2020) for the properties that we write: sections 3.13 (sarifLog), 3.14 (run),
/// 3.19 (toolComponent), 3.27 (result), 3.28 (location), 3.30 (region), 3.36 (codeFlow), 3.49 (reportingDescriptor). A property
/// that is not listed here is refused, so that nothing is written without its rule. Answers how many results there are.
fn validate_sarif(document: &Value) -> usize {
    fn only(value: &Value, allowed: &[&str], required: &[&str]) {
        let object = value.as_object().unwrap_or_else(|| panic!("an object: {value}"));
        for key in object.keys() {
            assert!(allowed.contains(&key.as_str()), "`{key}` is no property of {value}");
        }
        for key in required {
            assert!(object.contains_key(*key), "`{key}` is missing in {value}");
        }
    }
    fn list(value: &Value) -> &Vec<Value> {
        value.as_array().unwrap_or_else(|| panic!("a list: {value}"))
    }
    fn message(value: &Value) {
        only(value, &["text"], &["text"]);
        assert!(!value["text"].as_str().expect("text").is_empty());
    }
    fn location(value: &Value) {
        only(value, &["physicalLocation", "message"], &[]);
        if let Some(text) = value.get("message") {
            message(text);
        }
        let Some(place) = value.get("physicalLocation") else { return };
        only(place, &["artifactLocation", "region"], &["artifactLocation"]);
        only(&place["artifactLocation"], &["uri"], &["uri"]);
        let uri = place["artifactLocation"]["uri"].as_str().expect("text");
        assert!(!uri.starts_with('/') && !uri.contains(['\\', ' ', ':']), "a relative reference: {uri}");
        if let Some(region) = place.get("region") {
            only(region, &["startLine", "startColumn"], &["startLine"]);
            assert!(region["startLine"].as_u64().is_some_and(|line| line >= 1), "{region}");
            assert!(region["startColumn"].as_u64().is_none_or(|column| column >= 1), "{region}");
        }
    }
    only(document, &["$schema", "version", "runs"], &["version", "runs"]);
    assert_eq!(document["version"], "2.1.0");
    let mut count = 0;
    for run in list(&document["runs"]) {
        only(run, &["tool", "columnKind", "results"], &["tool"]);
        assert!(["utf16CodeUnits", "unicodeCodePoints"].contains(&run["columnKind"].as_str().expect("text")));
        only(&run["tool"], &["driver"], &["driver"]);
        let driver = &run["tool"]["driver"];
        only(driver, &["name", "version", "rules"], &["name"]);
        let mut ids = std::collections::BTreeSet::new();
        for rule in list(&driver["rules"]) {
            only(rule, &["id", "shortDescription", "fullDescription"], &["id"]);
            message(&rule["shortDescription"]);
            message(&rule["fullDescription"]);
            assert!(ids.insert(rule["id"].as_str().expect("text")), "twice: {rule}");
        }
        for result in list(&run["results"]) {
            only(
                result,
                &["ruleId", "kind", "level", "message", "locations", "partialFingerprints", "codeFlows"],
                &["message"],
            );
            count += 1;
            assert!(ids.contains(result["ruleId"].as_str().expect("text")), "no rule: {result}");
            message(&result["message"]);
            let level = result["level"].as_str().expect("text");
            assert!(["none", "note", "warning", "error"].contains(&level), "{result}");
            // A kind other than "fail" has no level (section 3.27.10).
            let kind = result.get("kind").map_or("fail", |kind| kind.as_str().expect("text"));
            assert!(["fail", "informational"].contains(&kind), "{result}");
            assert_eq!(kind == "fail", level != "none", "{result}");
            list(&result["locations"]).iter().for_each(location);
            let fingerprints = result["partialFingerprints"].as_object().expect("an object");
            assert!(fingerprints.values().all(Value::is_string), "{result}");
            for flow in result.get("codeFlows").map_or(&Vec::new(), list) {
                only(flow, &["threadFlows"], &["threadFlows"]);
                for thread in list(&flow["threadFlows"]) {
                    only(thread, &["locations"], &["locations"]);
                    assert!(!list(&thread["locations"]).is_empty());
                    for step in list(&thread["locations"]) {
                        only(step, &["location"], &[]);
                        location(&step["location"]);
                    }
                }
            }
        }
    }
    count
}

#[test]
fn two_versions_of_a_crate_are_compared_by_what_they_reach() {
    let home = tempfile::tempdir().expect("a folder");
    let package = |version: &str, more: &str, code: &str| {
        let folder = home.path().join(format!("registry/src/here/decimal-{version}"));
        std::fs::create_dir_all(folder.join("src")).expect("writable");
        let manifest =
            format!("[package]\nname = \"decimal\"\nversion = \"{version}\"\nedition = \"2021\"\n{more}");
        std::fs::write(folder.join("Cargo.toml"), manifest).expect("writable");
        std::fs::write(folder.join("src/lib.rs"), code).expect("writable");
        folder
    };
    package("1.0.0", "", "pub fn parse() {}");
    let newer = package(
        "1.0.1",
        "[dependencies]\nhelper = \"1\"\n",
        "pub fn parse() { if std::env::var(\"CI\").is_ok() { let _ = std::process::Command::new(\"sh\").spawn(); } }",
    );
    std::fs::write(newer.join("build.rs"), "fn main() {}").expect("writable");
    let variables = [("CARGO_HOME", home.path().to_str().expect("UTF-8"))];
    let diff = |more: &[&str]| {
        let arguments: Vec<&str> =
            ["diff", "decimal@1.0.0", "decimal@1.0.1"].iter().chain(more).copied().collect();
        run_in(home.path(), &arguments, &home.path().join("cache"), &variables)
    };
    let told = diff(&[]);
    assert_eq!(told.code, Some(0), "{told}");
    for line in [
        "decimal 1.0.0 -> 1.0.1",
        "build script added",
        "+ environment.read",
        "+ process.spawn",
        "+ depends on helper",
        "decimal: parse (src/lib.rs:1)",
    ] {
        assert!(told.stdout.contains(line), "{line}: {told}");
    }
    assert_eq!(diff(&["--deny-new"]).code, Some(4));
    let absent = run_in(home.path(), &["diff", "decimal@1.0.0", "decimal@9.0.0"], home.path(), &variables);
    assert_eq!(absent.code, Some(2), "{absent}");
    assert!(absent.stderr.contains("`decimal@9.0.0` is not in Cargo's cache"), "{absent}");

    let lock = |name: &str, version: &str, more: &str| {
        let text = format!(
            "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\"decimal\"{more}]\n\n\
             [[package]]\nname = \"decimal\"\nversion = \"{version}\"\nsource = \"registry+here\"\n"
        );
        let path = home.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (old, new) = (lock("old.lock", "1.0.0", ""), lock("new.lock", "1.0.1", ", \"proc-macro1\""));
    let told = run_in(home.path(), &["diff", &old, &new], home.path(), &variables);
    for line in ["decimal 1.0.0 -> 1.0.1", "+ process.spawn", "app -> proc-macro1 added"] {
        assert!(told.stdout.contains(line), "{line}: {told}");
    }
    let mixed = run_in(home.path(), &["diff", &old, "decimal@1.0.0"], home.path(), &variables);
    assert_eq!(mixed.code, Some(2), "{mixed}");
}

#[test]
fn two_revisions_are_compared_without_touching_the_working_tree() {
    let workspace = workspace("pub fn f() { codec::g() }", "pub fn g() {}", "");
    let git = |arguments: &[&str]| workspace.git(arguments);
    git(&["init", "--quiet"]);
    workspace.write(".gitignore", "target\ncache\n");
    // The revision has its lock file, as a program's has.
    assert_eq!(run(&workspace, &["check"]).code, Some(0));
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "before"]);
    workspace.write("codec/src/lib.rs", "pub fn g() { std::thread::spawn(|| {}); }");
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "after"]);
    workspace.write("codec/src/lib.rs", "pub fn g() { unfinished");
    let diff = run(&workspace, &["diff", "HEAD~1", "HEAD", "--deny-new"]);
    assert_eq!(diff.code, Some(4), "{diff}");
    assert_eq!(
        diff.stdout,
        "codec 0.1.0\n  + thread\n      codec: g (src/lib.rs:1)\n      -> `std::thread::spawn`\n\
         app -> codec kept\n  + thread\n      app: f (src/lib.rs:1)\n      -> codec: g (src/lib.rs:1)\n      -> `std::thread::spawn`\n",
        "{diff}"
    );
    assert_eq!(git(&["status", "--porcelain"]), " M codec/src/lib.rs\n");
    let same = run(&workspace, &["diff", "HEAD", "HEAD"]);
    assert_eq!(same.stdout, "nothing that the code reaches has changed\n", "{same}");
    let unknown = run(&workspace, &["diff", "HEAD", "no-such-thing"]);
    assert_eq!(unknown.code, Some(2), "{unknown}");
}
