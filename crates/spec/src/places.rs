//! Where the parts of a spec stand, by address.

use std::collections::BTreeMap;

use crate::read::Section;
use crate::source::Place;

/// Places by address, such as `image.web.packages`.
pub(crate) type Places = BTreeMap<String, Place>;

/// The addresses of all sections and what is in them.
pub(crate) fn collect(sections: &[Section<'_>]) -> Places {
    let mut places = Places::new();
    for section in sections {
        walk("", section, &mut places);
    }
    places
}

fn walk(outer: &str, section: &Section<'_>, places: &mut Places) {
    let mut address = outer.to_owned();
    if !address.is_empty() {
        address.push('.');
    }
    address.push_str(section.def.name);
    if section.label.is_some() {
        address.push('.');
        address.push_str(section.label_text());
    }
    for (name, entry) in &section.entries {
        places.insert(format!("{address}.{name}"), entry.place);
    }
    for inner in &section.sections {
        walk(&address, inner, places);
    }
    if section.def.name == "image" {
        for (index, place) in steps(section).into_iter().enumerate() {
            places.insert(format!("{address}.step.{index}"), place);
        }
    }
    places.insert(address, section.place);
}

/// The places of an image's steps in their order; a list of command lines gives one for each.
fn steps(image: &Section<'_>) -> Vec<Place> {
    let blocks = image.sections.iter().filter(|inner| matches!(inner.def.name, "copy" | "run"));
    let mut steps: Vec<Place> = blocks.map(|inner| inner.place).collect();
    if image.has("run") {
        let lines = image.texts("run").map_or(1, |lines| lines.len());
        steps.extend((0..lines).map(|index| image.item_at("run", index)));
    }
    steps.sort_by_key(|place| (place.file, place.start));
    steps
}
