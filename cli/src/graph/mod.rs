//! `graph`: draws crates, compartments and grants.

mod html;
mod layout;
mod model;
mod svg;
mod text;

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::resolve;

use crate::arguments::{Format, Graph, GraphFormat};
use crate::document::print_json;
use crate::exit::Exit;
use crate::{Stop, render};

/// Most crates that are drawn: more than this nobody can read.
const DRAWN_MAX: usize = 400;

pub(crate) fn run(arguments: &Graph, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let format = if arguments.format == GraphFormat::Json { Format::Json } else { Format::Human };
    let loaded = arguments.source.load(format, ambient)?;
    let project = &loaded.project;
    let resolution = resolve(project);
    let focus = match &arguments.focus {
        Some(name) => {
            let index = project.find(name).map_err(|why| Stop::Usage(render::printable(&why)))?;
            Some((index, arguments.depth))
        }
        None => None,
    };
    let drawing = model::Drawing::new(project, &resolution, focus, arguments.all);
    if matches!(arguments.format, GraphFormat::Svg | GraphFormat::Html) && drawing.crates.len() > DRAWN_MAX {
        return Err(Stop::Usage(format!(
            "{} crates are too many to draw (at most {DRAWN_MAX}); choose some with `--focus CRATE --depth N`",
            drawing.crates.len()
        )));
    }
    let text = match arguments.format {
        GraphFormat::Svg => svg::draw(&drawing, &layout::lay_out(&drawing)),
        GraphFormat::Html => html::page(&drawing, &svg::draw(&drawing, &layout::lay_out(&drawing))),
        GraphFormat::Dot => text::dot(&drawing),
        GraphFormat::Mermaid => text::mermaid(&drawing),
        GraphFormat::Json if arguments.output.is_none() => {
            print_json(&drawing.document())?;
            return Ok(Exit::Ok);
        }
        GraphFormat::Json => serde_json::to_string_pretty(&drawing.document())? + "\n",
    };
    match &arguments.output {
        Some(path) => {
            std::fs::write(path, text).map_err(|error| Stop::Write(path.display().to_string(), error))?;
        }
        None => std::io::stdout().write_all(text.as_bytes())?,
    }
    if drawing.hidden > 0 {
        let hidden = crate::check::counted(drawing.hidden, "crate");
        writeln!(
            anstream::stderr(),
            "{hidden} without a part in any capability not shown (--all shows them)"
        )?;
    }
    Ok(Exit::Ok)
}
