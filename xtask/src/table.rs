//! A report as a table of Markdown.

use std::fmt::Write as _;

use crate::report::{Report, Spread, number};

/// The whole section of a group, with its chart.
pub(crate) fn section(report: &Report) -> String {
    let mut out = format!("### {}\n\n", report.question);
    let _ = writeln!(out, "`cargo xtask bench --group {}`: {}.\n", report.group, report.machine);
    let _ = writeln!(out, "![{}](docs/images/bench-{}.svg)\n", report.question, report.group);
    out += "| what | | median (quartiles) | ours takes so many times this | promised |\n| --- | --- | --- | --- | --- |\n";
    for row in &report.rows {
        for (at, one) in row.measured.iter().enumerate() {
            let what = if at == 0 { cell(&row.what) } else { String::new() };
            let note = row.note.as_ref().filter(|_| at == 0).map(|note| format!("; {}", cell(note)));
            let ratio = one.ratio.map(spread).unwrap_or_default();
            let promise = one.promise(&row.unit).unwrap_or_default();
            let _ = writeln!(
                out,
                "| {what}{} | {} | {} {} | {ratio} | {promise} |",
                note.unwrap_or_default(),
                cell(&one.name),
                spread(one.value),
                row.unit
            );
        }
    }
    out
}

fn spread(Spread { low, middle, high }: Spread) -> String {
    let (low, middle, high) = (number(low), number(middle), number(high));
    if low == high { middle } else { format!("{middle} ({low} to {high})") }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// Puts sections between the marks of a document, each in the place of the one with its name; those without a report stay.
///
/// # Errors
/// When a mark is missing.
pub(crate) fn put(document: &str, reports: &[Report]) -> Result<String, String> {
    let mut out = document.to_owned();
    for report in reports {
        let (begin, end) = marks(&report.group);
        let place = out.find(&begin).zip(out.find(&end)).filter(|(begin, end)| begin < end);
        let Some((from, to)) = place else {
            return Err(format!("SPECIFICATION.md has no marks `{begin}` and `{end}`"));
        };
        let made = format!("{begin}\n{}", section(report));
        out.replace_range(from..to, &made);
    }
    Ok(out)
}

/// What stands before and behind the section of a group.
fn marks(group: &str) -> (String, String) {
    (format!("<!-- {group}: written by cargo xtask bench -->"), format!("<!-- end of {group} -->"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_table_has_every_number_and_says_what_is_not_kept() {
        let text = section(&sample());
        assert!(text.contains(
            "| a call: &lt;16 bytes> & more \\| less; measured once | ours | 0.5 (0.45 to 0.55) µs |  |  |"
        ));
        assert!(text.contains(
            "|  | raw | 0.4 (0.36 to 0.44) µs | 1.25 (1.12 to 1.38) | at most 1.2 times: **not kept** |"
        ));
    }

    #[test]
    fn a_section_is_put_in_its_place_and_no_other() {
        let (begin, end) = marks("calls");
        let document = format!("before\n{begin}\nold\n{end}\nbehind\n");
        let out = put(&document, &[sample()]).expect("the marks are there");
        assert!(
            out.starts_with("before\n") && out.ends_with(&format!("{end}\nbehind\n")) && !out.contains("old")
        );
        assert_eq!(put(&out, &[sample()]).expect("as before"), out);
        assert!(put("nothing", &[sample()]).is_err());
    }

    #[test]
    fn every_group_has_its_place_in_the_specification() {
        let text = std::fs::read_to_string(crate::root().join("SPECIFICATION.md")).expect("it is there");
        for group in crate::bench::GROUPS {
            let (begin, end) = marks(group);
            assert!(
                text.find(&begin).zip(text.find(&end)).is_some_and(|(begin, end)| begin < end),
                "{group}"
            );
        }
    }
}
