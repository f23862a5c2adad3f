//! Attempts of wasm guests. Each guest is written by hand as component text, so that it does exactly what its row says.

mod files;
mod ground;
mod limits;
mod manifests;
mod values;

use ambient_authority::AmbientAuthority;

use ground::Ground;

use crate::attempt::Part;
use crate::trial::Trial;

/// What holds an attempt.
#[derive(Clone, Copy)]
pub enum Held {
    /// It is tried here: stopped as the row says, with its event in the log, while the next call, another plugin and a control work.
    Here(fn(&mut Ground) -> Result<String, String>),
    /// A test of the repository's, which needs more than a guest written by hand: its file and its name.
    Test(&'static str, &'static str),
    /// Nothing, and why.
    Nothing(&'static str),
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here(_) => f.write_str("Here"),
            Self::Test(file, name) => write!(f, "{file}: {name}"),
            Self::Nothing(why) => f.write_str(why),
        }
    }
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct WasmAttempt {
    /// Its number in the list; a letter tells those of one number apart.
    pub id: &'static str,
    /// What the guest tries.
    pub tries: &'static str,
    /// What stops it.
    pub stop: &'static str,
    /// What holds that.
    pub held: Held,
}

const fn here(
    id: &'static str,
    tries: &'static str,
    stop: &'static str,
    function: fn(&mut Ground) -> Result<String, String>,
) -> WasmAttempt {
    WasmAttempt { id, tries, stop, held: Held::Here(function) }
}

const fn test(
    id: &'static str,
    tries: &'static str,
    stop: &'static str,
    file: &'static str,
    name: &'static str,
) -> WasmAttempt {
    WasmAttempt { id, tries, stop, held: Held::Test(file, name) }
}

/// The list.
pub const WASM_ATTEMPTS: &[WasmAttempt] = &[
    here("w1", "compute for ever", "deadline", limits::spin),
    here("w2", "compute for ever while it is made", "deadline", limits::spin_at_start),
    here("w3a", "compute for ever while the host gives it a text", "deadline", limits::spin_in_realloc),
    here("w3b", "compute for ever after it has answered", "deadline", limits::spin_in_post_return),
    here("w4", "take all memory", "limit: memory", limits::eat),
    here("w5", "take it in several memories", "limit: memory", limits::many_memories),
    here("w6", "take it in tables", "limit: table elements", limits::tables),
    here("w7", "take it in instances", "limit: instances", limits::instances),
    here("w8", "fill memory in operations that take long", "deadline", limits::fill),
    here("w9", "recurse without end", "fault: recursed too deep", limits::recurse),
    test(
        "w10",
        "recurse in every one of a chain of compartments",
        "bound on depth and stack",
        "tests/fused.rs",
        "a_chain_of_as_many_compartments_as_may_be_inside_each_other_is_one_unit",
    ),
    here("w11", "take handles without end", "limit or fault", files::handles),
    here("w12", "have the host copy the same bytes many times", "limit: bytes out", limits::amplify),
    here("w13a", "answer with a case that no enum has", "fault: trap", values::bad_case),
    here("w13b", "answer with half a surrogate", "fault: trap", values::bad_character),
    here("w13c", "answer with text that is none", "fault: trap", values::bad_text),
    here("w13d", "answer with a text outside of its memory", "fault: trap", values::outside),
    here("w13e", "answer with a list that is not aligned", "fault: trap", values::unaligned),
    here("w13f", "answer with a list whose length does not fit", "fault: trap", values::overflow),
    test(
        "w14",
        "answer another type than it declared",
        "compared when it starts",
        "tests/clients.rs",
        "what_does_not_fit_is_a_diff",
    ),
    test(
        "w15",
        "come back into a compartment that is in a call",
        "edges form a tree",
        "tests/edges.rs",
        "one_compartment_calls_another_over_its_own_edge",
    ),
    here("w16", "be called by what it calls", "denied: dependency-cycle", manifests::cycle_of_two),
    here("w17", "be in a cycle of many", "denied: dependency-cycle", manifests::cycle_of_many),
    test(
        "w18",
        "end its caller with itself",
        "error of the call",
        "tests/edges.rs",
        "a_fault_behind_an_edge_is_an_error_of_the_call_and_the_caller_lives_where_its_interface_can_say_so",
    ),
    test(
        "w19",
        "end others that share its store",
        "shared on purpose, in a fused unit only",
        "tests/fused.rs",
        "a_unit_shares_its_fate",
    ),
    here("w20a", "use a handle of its own making", "fault: trap", values::forged_handle),
    here("w20b", "use a handle after it gave it back", "fault: trap", values::stale_handle),
    test(
        "w20c",
        "use a handle of another edge or of an instance that is gone",
        "refused",
        "tests/clients.rs",
        "a_handle_of_an_instance_that_is_gone_or_of_another_edge_is_refused",
    ),
    test(
        "w21",
        "have a function called in a store that is not its own",
        "handles do not cross",
        "tests/edges.rs",
        "a_handle_cannot_cross_between_stores",
    ),
    test(
        "w22",
        "die while others hold what it made",
        "reclaimed",
        "tests/clients.rs",
        "a_handle_of_an_instance_that_is_gone_or_of_another_edge_is_refused",
    ),
    here("w23", "import what nobody grants it", "does not start", manifests::unknown_import),
    here(
        "w24a",
        "name a capability that there is not",
        "denied: unknown-capability",
        manifests::unknown_capability,
    ),
    here("w24b", "have everything by a wildcard", "denied: bad-path", manifests::wildcard),
    here(
        "w25a",
        "get a wider folder than its consumer",
        "denied: grant-exceeds-holdings",
        manifests::wider_folder,
    ),
    here(
        "w25b",
        "get a folder whose name begins alike",
        "denied: grant-exceeds-holdings",
        manifests::sibling_prefix,
    ),
    here(
        "w25c",
        "get a host whose name ends alike",
        "denied: grant-exceeds-holdings",
        manifests::host_suffix,
    ),
    here("w25d", "get another port", "denied: grant-exceeds-holdings", manifests::port),
    here(
        "w25e",
        "write where its consumer reads",
        "denied: grant-exceeds-holdings",
        manifests::write_from_read,
    ),
    here(
        "w26",
        "see what another edge to the same component left",
        "a store for each edge",
        limits::two_edges,
    ),
    here("w27a", "go up out of a granted folder", "not-permitted", files::above),
    here("w27b", "name a whole path", "not-permitted", files::absolute),
    here("w27c", "follow a link that leads up, or away, or through links", "not-permitted", files::links),
    here("w27d", "write where reading is granted", "not-permitted", files::write_read_only),
    here("w27e", "shorten a file where reading is granted", "not-permitted", files::truncate_read_only),
    here("w27f", "follow a link that is exchanged while the host looks", "never outside", files::swapped),
    here(
        "w27g",
        "use names that are no names: too long, empty, with slashes at the end",
        "an error",
        files::odd_names,
    ),
    WasmAttempt {
        id: "w28",
        tries: "the same where the kernel has no openat2",
        stop: "the engine's own way to resolve a path",
        held: Held::Nothing("the host would have to be under a filter itself; hosts of this release are not"),
    },
    test(
        "w29",
        "reach an address in other clothes",
        "access-denied",
        "tests/grants.rs",
        "an_address_and_port_that_are_granted_are_reached_and_no_others",
    ),
    test(
        "w30",
        "be led elsewhere by a redirect, or smuggle a host into a request",
        "refused",
        "tests/grants.rs",
        "http_goes_to_granted_hosts_and_no_redirect_leads_elsewhere",
    ),
    here("w31", "write without end", "limit: output", limits::output),
    here("w32", "wait in the host without end", "deadline", limits::wait),
    here("w33", "ask for 4 GiB of random numbers", "fault or limit", limits::random_flood),
    here("w34", "be replaced in the cache of compiled code", "compiled again", values::tampered_cache),
    here("w35", "be no component, in 120 ways", "does not start", values::malformed),
    WasmAttempt {
        id: "w36",
        tries: "take long to compile",
        stop: "the size of a component",
        held: Held::Nothing(
            "nothing but its size bounds the compiling of a component: it runs in the host, without limits of its own",
        ),
    },
    test(
        "w37",
        "go on with a grant that was taken back during its call",
        "dead at its next operation",
        "tests/edges.rs",
        "a_grant_revoked_during_a_call_is_dead_at_its_next_operation",
    ),
    test(
        "w38",
        "be replaced while calls run",
        "running calls finish",
        "tests/edges.rs",
        "a_replacement_takes_new_calls_and_lets_running_ones_finish",
    ),
    here("w39", "leave something behind in 60 ends", "counted", limits::churn),
    here("w40", "find bytes of the instance before it", "fresh memory", limits::leftovers),
    here("w41", "be called by several threads at once", "one after the other", limits::threads),
    WasmAttempt {
        id: "w42",
        tries: "have a function of the host's panic",
        stop: "",
        held: Held::Nothing("a host offers guests no functions of its own in this release"),
    },
    test(
        "w43",
        "be dropped in the middle of a call",
        "its instance goes with it",
        "tests/wasm.rs",
        "a_deadline_ends_a_wait_in_the_host",
    ),
    test(
        "w44",
        "come as another component under the same name",
        "digest",
        "tests/edges.rs",
        "a_component_that_the_manifest_names_is_pinned_from_the_decision_to_the_start",
    ),
    here(
        "w45",
        "do what is not granted, and not be named for it",
        "the message has edge, capability, attempt and line",
        limits::message,
    ),
];

/// Tries one in this process.
pub fn try_wasm(attempt: &WasmAttempt, ambient: AmbientAuthority) -> Trial {
    let outcome = match attempt.held {
        Held::Here(function) => Ground::new(ambient).and_then(|mut ground| {
            let said = function(&mut ground)?;
            ground.lives()?;
            Ok(said)
        }),
        Held::Test(file, name) => Ok(format!("{file}: {name}")),
        Held::Nothing(why) => Ok(why.to_owned()),
    };
    let (passed, said) = match outcome {
        Ok(said) => (true, said),
        Err(said) => (false, said),
    };
    Trial { id: attempt.id.to_owned(), part: Part::Confined, passed, said }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_number_is_there() {
        let number =
            |id: &str| id[1..].trim_end_matches(char::is_alphabetic).parse::<u32>().expect("a number");
        let numbers: BTreeSet<u32> = WASM_ATTEMPTS.iter().map(|one| number(one.id)).collect();
        assert_eq!(numbers, (1..=45).collect());
    }

    #[test]
    fn every_test_that_is_named_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for attempt in WASM_ATTEMPTS {
            if let Held::Test(file, name) = attempt.held {
                let text = std::fs::read_to_string(root.join(file)).expect("readable");
                assert!(text.contains(&format!("fn {name}()")), "{}: {file} has no {name}", attempt.id);
            }
        }
    }

    #[test]
    fn every_attempt_is_stopped() {
        let failed: Vec<Trial> = WASM_ATTEMPTS
            .iter()
            .map(|attempt| try_wasm(attempt, ambient_authority::ambient_authority()))
            .filter(|trial| !trial.passed)
            .collect();
        assert!(failed.is_empty(), "{failed:#?}");
    }
}
