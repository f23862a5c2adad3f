//! The report as one HTML page: everything is in it, and it fetches nothing.

use crate::Stop;
use crate::document::ReportDocument;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn page(report: &ReportDocument) -> Result<String, Stop> {
    // Inside a script element only `<` could end the data; JSON may write it in another way.
    let data = serde_json::to_string(report)?.replace('<', "\\u003c");
    let mut out = String::with_capacity(data.len() + PAGE.len() + STYLE.len() + SCRIPT.len());
    let mut rest = PAGE;
    for (mark, text) in [("{style}", STYLE), ("{data}", &data), ("{script}", SCRIPT)] {
        let (before, after) = rest.split_once(mark).expect("the page has each mark, in this order");
        out.push_str(before);
        out.push_str(text);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
