//! What a bench has found, as it writes it to `target/bench/GROUP.json`.

use serde::Deserialize;

/// Median and quartiles.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Spread {
    pub low: f64,
    pub middle: f64,
    pub high: f64,
}

/// One thing that was measured.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Measured {
    pub name: String,
    pub value: Spread,
    /// How many times this the first of its row took.
    pub ratio: Option<Spread>,
    /// Of the ratio, or of the value where there is none.
    pub at_most: Option<f64>,
    pub at_least: Option<f64>,
}

/// Things that were measured in turns, the first of them ours.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    pub what: String,
    pub unit: String,
    pub note: Option<String>,
    pub measured: Vec<Measured>,
}

/// What one bench found.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Report {
    pub group: String,
    pub question: String,
    pub machine: String,
    pub rows: Vec<Row>,
}

impl Measured {
    /// What was promised, and whether it is kept: `at most 1.2 times: kept`, and in a unit where it is of the value itself.
    pub(crate) fn promise(&self, unit: &str) -> Option<String> {
        // How many times as fast the first is, is how many times it this one takes.
        let (kind, bound, found) = match (self.at_most, self.at_least, self.ratio) {
            (Some(most), _, Some(ratio)) => ("at most", most, ratio.middle <= most),
            (Some(most), _, None) => ("at most", most, self.value.middle <= most),
            (None, Some(least), Some(ratio)) => ("at least", least, 1.0 / ratio.middle >= least),
            _ => return None,
        };
        let kept = if found { "kept" } else { "**not kept**" };
        let of = match (self.ratio, self.at_least) {
            (None, _) => unit,
            (Some(_), Some(_)) => "times as fast",
            (Some(_), None) => "times",
        };
        Some(format!("{kind} {} {of}: {kept}", number(bound)))
    }
}

/// A number with as many digits as say something.
pub(crate) fn number(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Report {
        let spread = |middle: f64| Spread { low: middle * 0.9, middle, high: middle * 1.1 };
        let one = |name: &str, value: f64, ratio: Option<f64>, at_most, at_least| Measured {
            name: name.to_owned(),
            value: spread(value),
            ratio: ratio.map(spread),
            at_most,
            at_least,
        };
        Report {
            group: "calls".to_owned(),
            question: "What does a call cost?".to_owned(),
            machine: "2 processors".to_owned(),
            rows: vec![Row {
                what: "a call: <16 bytes> & more | less".to_owned(),
                unit: "µs".to_owned(),
                note: Some("measured once".to_owned()),
                measured: vec![
                    one("ours", 0.5, None, None, None),
                    one("raw", 0.4, Some(1.25), Some(1.2), None),
                    one("sockets", 14.0, Some(0.036), None, Some(5.0)),
                ],
            }],
        }
    }

    #[test]
    fn a_promise_is_kept_or_it_says_that_it_is_not() {
        let row = &sample().rows[0];
        assert_eq!(row.measured[0].promise("µs"), None);
        assert_eq!(row.measured[1].promise("µs").as_deref(), Some("at most 1.2 times: **not kept**"));
        assert_eq!(row.measured[2].promise("µs").as_deref(), Some("at least 5 times as fast: kept"));
        let alone = Measured { ratio: None, ..row.measured[1].clone() };
        assert_eq!(alone.promise("µs").as_deref(), Some("at most 1.2 µs: kept"));
    }

    #[test]
    fn numbers_have_three_digits_or_so() {
        let texts = [1234.56, 99.95, 12.0, 1.5, 0.0421, 100.0].map(number);
        assert_eq!(texts, ["1235", "100", "12", "1.5", "0.042", "100"]);
    }
}
