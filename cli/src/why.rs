//! `why`: how a crate, or the code behind an edge, gets to a capability: the way, place by place.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::{Capability, resolve};
use cofferdam_audit::{Layers, Reading, State, States, Way};

use crate::arguments::{Format, Why};
use crate::code::Code;
use crate::compiled::{Judged, look_or_stop};
use crate::document::{EdgeName, VERSION, WhyDocument, WhyReachDocument, print_json};
use crate::exit::Exit;
use crate::reach::{Granted, seen_by, way_lines};
use crate::subject::{Subject, known, means};
use crate::{Stop, render};

pub(crate) fn run(arguments: &Why, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    known(&arguments.capability)?;
    let loaded = arguments.source.load(arguments.format, ambient)?;
    let Some(mut code) =
        Code::read(&loaded, arguments.source.target.as_deref(), Reading::Everything, ambient)?
    else {
        return Err(Stop::Usage("`why` looks at code, and a `capabilities.toml` has none".to_owned()));
    };
    if arguments.compiled {
        look_or_stop(&mut code, &loaded, &arguments.source, Judged::ByGrants, ambient)?;
    }
    let subject = Subject::find(&code, &arguments.subject)?;
    let states = code.states();
    if let Subject::Edge(from, to) = subject
        && !states.used.needs().contains_key(&(from, to))
    {
        let (from, to) = (code.name(from), code.name(to));
        return Err(Stop::Usage(format!(
            "`{from}` does not depend on `{to}` directly, for this platform and with these features"
        )));
    }
    let resolution = resolve(&loaded.project);
    let granted = Granted::new(&loaded.project, &resolution, &code, &states.used);
    let answers = answers(&code, &states, subject, &arguments.capability);
    match arguments.format {
        Format::Json => print_json(&document(&code, &granted, subject, &arguments.capability, &answers))?,
        Format::Human => {
            let text = text(&code, &states, &granted, subject, &arguments.capability, &answers);
            anstream::stdout().write_all(render::printable(&text).as_bytes())?;
        }
    }
    Ok(Exit::Ok)
}

/// One capability that is reached.
struct Answer {
    capability: Capability,
    state: State,
    layers: Layers,
    way: Option<Way>,
}

fn reached(states: &States<'_>, subject: Subject) -> BTreeMap<Capability, State> {
    match subject {
        // A crate reaches what its own code does, and what its edges bring.
        Subject::Package(package) => {
            let mut all = states.own(package);
            for (from, to) in states.used.needs().keys().filter(|(from, _)| *from == package) {
                for (capability, state) in states.over(*from, *to) {
                    let known = all.entry(capability).or_insert(state);
                    *known = state.min(*known);
                }
            }
            all
        }
        Subject::Edge(from, to) => states.over(from, to),
    }
}

fn answers(code: &Code, states: &States<'_>, subject: Subject, word: &str) -> Vec<Answer> {
    let wanted = reached(states, subject).into_iter().filter(|(capability, _)| means(word, capability));
    wanted
        .map(|(capability, state)| {
            let way = match subject {
                Subject::Package(package) => states.way_within(package, &capability, state).or_else(|| {
                    let mut edges = code.graph.packages[package].dependencies.iter();
                    edges.find_map(|edge| states.way_over(package, edge.to, &capability, state))
                }),
                Subject::Edge(from, to) => states.way_over(from, to, &capability, state),
            };
            let layers = match subject {
                Subject::Package(package) => {
                    let mut layers = states.layers_within(package, &capability, state);
                    for edge in &code.graph.packages[package].dependencies {
                        layers = layers.with(states.layers_over(package, edge.to, &capability, state));
                    }
                    layers
                }
                Subject::Edge(from, to) => states.layers_over(from, to, &capability, state),
            };
            Answer { capability, state, layers, way }
        })
        .collect()
}

fn title(code: &Code, subject: Subject) -> String {
    match subject {
        Subject::Package(package) => code.name(package),
        Subject::Edge(from, to) => format!("{} -> {}", code.name(from), code.name(to)),
    }
}

fn text(
    code: &Code,
    states: &States<'_>,
    granted: &Granted,
    subject: Subject,
    word: &str,
    answers: &[Answer],
) -> String {
    let mut text = String::new();
    let title = title(code, subject);
    for answer in answers {
        let seen = seen_by(code, answer.layers);
        let _ = writeln!(text, "{title}: {}, {}{seen}", answer.capability, answer.state.meaning());
        if let Some(way) = &answer.way {
            for line in way_lines(code, way) {
                let _ = writeln!(text, "  {line}");
            }
        }
        if let (Subject::Edge(from, to), State::Used) = (subject, answer.state) {
            let said = match granted.says(from, to, &answer.capability) {
                None => "nothing is declared yet; `cofferdam init` writes what is reached now".to_owned(),
                Some(true) => {
                    format!("granted; by whom: cofferdam explain '{title}' {}", answer.capability)
                }
                Some(false) => "not granted; `cofferdam check` shows the line that would".to_owned(),
            };
            let _ = writeln!(text, "  {said}");
        }
        text.push('\n');
    }
    if answers.is_empty() {
        let _ = writeln!(text, "{title} does not reach {word}, in any state");
        let mut others = reached(states, subject);
        others.retain(|capability, _| !capability.granted_by_default());
        for state in [State::Used, State::Compiled, State::OtherCfg] {
            let names: Vec<String> = others
                .iter()
                .filter(|(_, found)| **found == state)
                .map(|(capability, _)| capability.to_string())
                .collect();
            if !names.is_empty() {
                let _ = writeln!(text, "it reaches {}, {}", names.join(", "), state.meaning());
            }
        }
        if others.is_empty() {
            let _ = writeln!(text, "it reaches nothing that needs a grant");
        }
    }
    text
}

fn document(code: &Code, granted: &Granted, subject: Subject, word: &str, answers: &[Answer]) -> WhyDocument {
    let (krate, edge) = match subject {
        Subject::Package(package) => (Some(code.full_name(package)), None),
        Subject::Edge(from, to) => {
            (None, Some(EdgeName { from: code.full_name(from), to: code.full_name(to) }))
        }
    };
    WhyDocument {
        document: "why",
        version: VERSION,
        krate,
        edge,
        capability: word.to_owned(),
        reaches: answers
            .iter()
            .map(|answer| WhyReachDocument {
                reach: code.reach(&answer.capability, answer.state, answer.layers, answer.way.as_ref()),
                granted: match subject {
                    Subject::Edge(from, to) if answer.state == State::Used => {
                        granted.says(from, to, &answer.capability)
                    }
                    _ => None,
                },
            })
            .collect(),
    }
}
