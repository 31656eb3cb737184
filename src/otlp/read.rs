//! Reads the families out of the text that `export` writes (OpenMetrics 1.0). It reads what we write, not any text.

/// One family with its samples, in the order of the text.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Family {
    /// Without the suffix of its samples.
    pub(super) name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub(super) kind: String,
    pub(super) unit: String,
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    /// What follows the family's name, such as `_bucket`.
    pub(super) suffix: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: String,
}

pub(super) fn families(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (Some(word), Some(name), text) =
                (words.next(), words.next(), words.next().unwrap_or_default())
            else {
                continue; // # EOF
            };
            if word == "TYPE" {
                families.push(Family { name: name.to_owned(), kind: text.to_owned(), ..Family::default() });
            }
            let Some(family) = families.last_mut() else { continue };
            match word {
                "UNIT" => family.unit = text.to_owned(),
                "HELP" => family.help = unescaped(text),
                _ => {}
            }
        } else if let Some(family) = families.last_mut()
            && let Some(sample) = line.strip_prefix(&*family.name).and_then(sample)
        {
            family.samples.push(sample);
        }
    }
    families
}

/// Reads a line without the family's name.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (suffix, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches(',');
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (name, after) = rest.split_once("=\"")?;
            let end = end_of_value(after)?;
            let (value, after) = after.split_at(end);
            labels.push((name.to_owned(), unescaped(value)));
            rest = after.strip_prefix('"')?;
        }
    }
    let value = rest.trim_start().split(' ').next()?;
    Some(Sample { suffix: suffix.to_owned(), labels, value: value.to_owned() })
}

/// The place of the quotation mark that ends a value.
fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(place, one)| {
        let ends = one == '"' && !escaped;
        escaped = one == '\\' && !escaped;
        ends.then_some(place)
    })
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(one) = chars.next() {
        if one != '\\' {
            plain.push(one);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_read_as_it_was_written() {
        let text = "# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n# HELP a_seconds One \\\\ two\\n \\\"three\\\".\n\
            a_seconds_bucket{type=\"x\\\"}, y=\\\\\",le=\"+Inf\"} 3\na_seconds_sum{type=\"x\"} 1.5\n\
            # TYPE b counter\n# HELP b B.\nb_total 7\n# EOF\n";
        let families = families(text);
        assert_eq!(families.len(), 2);
        assert_eq!(families[0].help, "One \\ two\n \"three\".");
        assert_eq!((&*families[0].unit, &*families[0].kind), ("seconds", "histogram"));
        let bucket = &families[0].samples[0];
        let labels = [("type", "x\"}, y=\\"), ("le", "+Inf")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!((&*bucket.suffix, &*bucket.labels, &*bucket.value), ("_bucket", &labels[..], "3"));
        assert_eq!(families[0].samples[1].value, "1.5");
        let total = Sample { suffix: "_total".to_owned(), labels: Vec::new(), value: "7".to_owned() };
        assert_eq!(families[1].samples, [total]);
    }
}
