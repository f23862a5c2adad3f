//! A report as a picture: bars on a logarithmic scale, ours in another colour.

use std::fmt::Write as _;

use crate::report::{Report, Row, number};

/// Widths and heights, in pixels of the picture.
const WIDTH: f64 = 900.0;
const LABELS: f64 = 340.0;
const VALUES: f64 = 150.0;
const BAR: f64 = 16.0;
const STEP: f64 = 22.0;
const TITLE: f64 = 30.0;

/// The picture of all rows of a group that are of the same unit as its first.
pub(crate) fn svg(report: &Report) -> String {
    let unit = report.rows.first().map_or("", |row| row.unit.as_str());
    let rows: Vec<&Row> = report.rows.iter().filter(|row| row.unit == unit).collect();
    let values = || rows.iter().flat_map(|row| &row.measured).map(|one| one.value);
    let low = values().map(|value| value.low).filter(|low| *low > 0.0).fold(f64::INFINITY, f64::min);
    let high = values().map(|value| value.high).fold(0.0, f64::max);
    let scale = Scale::over(low, high);
    let height: f64 = rows.iter().map(|row| TITLE + STEP * count(row)).sum::<f64>() + 16.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escaped(&report.question)
    );
    let mut y = 8.0;
    for row in rows {
        let _ = writeln!(
            out,
            "<text x=\"10\" y=\"{}\" font-weight=\"bold\" fill=\"#1b2a33\">{}</text>",
            y + 18.0,
            escaped(&row.what)
        );
        y += TITLE;
        for (at, one) in row.measured.iter().enumerate() {
            let colour = if at == 0 { "#0b7285" } else { "#adb5bd" };
            let (begin, end) = (LABELS, scale.at(one.value.middle));
            let (from, to) = (scale.at(one.value.low), scale.at(one.value.high));
            let (middle, text) = (y + BAR / 2.0, y + BAR - 3.5);
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\" fill=\"#1b2a33\">{}</text>\n\
                 <rect x=\"{begin}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
                 <path d=\"M{from:.1} {middle}H{to:.1}\" stroke=\"#1b2a33\" stroke-width=\"1.5\"/>\n\
                 <text x=\"{:.1}\" y=\"{text}\" fill=\"#1b2a33\">{} {}</text>",
                begin - 8.0,
                escaped(&one.name),
                (end - begin).max(1.0),
                end.max(to) + 6.0,
                number(one.value.middle),
                escaped(unit)
            );
            y += STEP;
        }
    }
    out += "</svg>\n";
    out
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn count(row: &Row) -> f64 {
    row.measured.len() as f64
}

/// From values to places.
struct Scale {
    low: f64,
    each: f64,
}

impl Scale {
    /// Over at least a factor of two, with a little room below.
    fn over(low: f64, high: f64) -> Self {
        let low = if low.is_finite() { (low * 0.7).ln() } else { 0.0 };
        let high = high.max(f64::MIN_POSITIVE).ln().max(low + 2.0_f64.ln());
        Self { low, each: (WIDTH - LABELS - VALUES) / (high - low) }
    }

    fn at(&self, value: f64) -> f64 {
        if value <= 0.0 { LABELS } else { LABELS + ((value.ln() - self.low) * self.each).max(0.0) }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_longer_time_is_a_longer_bar_inside_the_picture() {
        let text = svg(&sample());
        let widths: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with("<rect x="))
            .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 3);
        assert!(widths[2] > widths[0] && widths[0] > widths[1], "{widths:?}");
        assert!(widths.iter().all(|width| LABELS + width < WIDTH), "{widths:?}");
        assert!(text.contains("a call: &lt;16 bytes&gt; &amp; more | less"));
        assert_eq!(text.matches('<').count(), text.matches('>').count());
    }
}
