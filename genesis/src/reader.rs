//! Reads TOML tables key by key and remembers where everything stands. Instead of stopping at the
//! first surprise it notes it and goes on; keys nobody asked for are reported at the end, with the
//! known key they resemble.

use core::ops::Range;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Found;
use crate::{At, Fault, Problems};

/// A TOML text on its way to something checked.
pub(crate) struct Reader<'a> {
    text: &'a str,
    file: &'a str,
    spans: BTreeMap<String, Range<usize>>,
    pub(crate) found: Found,
}

impl<'a> Reader<'a> {
    /// Parses the text; everything after this is about meaning.
    pub(crate) fn parse(text: &'a str, file: &'a str) -> (Self, DeTable<'a>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader {
            text,
            file,
            spans: BTreeMap::new(),
            found: Found::default(),
        };
        for (i, error) in errors.iter().enumerate() {
            // Syntax errors have no place of their own; the span stands under a private name.
            let place = format!("\u{0}{i}");
            reader
                .spans
                .insert(place.clone(), error.span().unwrap_or(0..0));
            reader.found.add(
                place,
                Fault::Syntax {
                    message: error.message().to_owned(),
                },
            );
        }
        (reader, table.into_inner())
    }

    /// Is the text readable at all? A broken text is not worth checking for its meaning.
    pub(crate) fn is_broken(&self) -> bool {
        !self.found.0.is_empty()
    }

    /// Ends the reading.
    pub(crate) fn finish(self) -> Result<(), Problems> {
        let Reader {
            text,
            file,
            spans,
            found,
        } = self;
        let result = found.into_result(file, |place| {
            // A missing key is shown at the table it is missing from, if that is not the whole file.
            let mut place = place;
            loop {
                if let Some(span) = spans.get(place) {
                    return Some(At::find(text, span));
                }
                place = &place[..place.rfind(['.', '['])?];
            }
        });
        result.map_err(|mut problems| {
            for problem in &mut problems.list {
                if problem.place.starts_with('\u{0}') {
                    problem.place.clear();
                }
                if let Fault::Duplicate { first } = &mut problem.fault
                    && let Some(span) = spans.get(first)
                {
                    *first = format!("{first} (line {})", At::find(text, span).line);
                }
            }
            problems
        })
    }

    /// Opens a table that stands at `place`.
    pub(crate) fn section<'t>(&mut self, table: &'t DeTable<'a>, place: &str) -> Section<'t, 'a> {
        for (key, value) in table {
            let place = join(place, key.get_ref());
            self.spans.entry(place).or_insert_with(|| value.span());
        }
        Section {
            table,
            place: place.to_owned(),
            asked: Vec::new(),
        }
    }
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

/// One table. Call [`Section::close`] when all known keys have been asked for.
pub(crate) struct Section<'t, 'a> {
    table: &'t DeTable<'a>,
    place: String,
    asked: Vec<&'static str>,
}

impl<'t, 'a> Section<'t, 'a> {
    /// The place of a key of this table.
    pub(crate) fn place(&self, key: &str) -> String {
        join(&self.place, key)
    }

    fn get(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// Notes that a key must be there.
    pub(crate) fn require<T>(
        &self,
        key: &'static str,
        value: Option<T>,
        reader: &mut Reader<'_>,
    ) -> Option<T> {
        if value.is_none() && !self.table.contains_key(key) {
            reader.found.add(self.place(key), Fault::Missing);
        }
        value
    }

    fn wrong_type(
        &self,
        key: &str,
        expected: &'static str,
        value: &DeValue<'_>,
        reader: &mut Reader<'_>,
    ) {
        let found = value.type_str().to_owned();
        reader
            .found
            .add(self.place(key), Fault::WrongType { expected, found });
    }

    /// A string, read further by `parse`.
    pub(crate) fn parse<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        reader: &mut Reader<'_>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let value = self.get(key)?.get_ref();
        let Some(text) = value.as_str() else {
            self.wrong_type(key, expected, value, reader);
            return None;
        };
        parse(text)
            .map_err(|fault| reader.found.add(self.place(key), fault))
            .ok()
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Option<String> {
        self.parse(key, "text in quotes", reader, |text| Ok(text.to_owned()))
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Option<u128> {
        let value = self.get(key)?.get_ref();
        let number = value
            .as_integer()
            .and_then(|integer| u128::from_str_radix(integer.as_str(), integer.radix()).ok());
        if number.is_none() {
            let expected = "a whole number, not negative";
            match value.as_integer() {
                Some(integer) => {
                    let found = integer.as_str().to_owned();
                    let fault = Fault::WrongType { expected, found };
                    reader.found.add(self.place(key), fault);
                }
                None => self.wrong_type(key, expected, value, reader),
            }
        }
        number
    }

    /// A date and time.
    pub(crate) fn datetime(
        &mut self,
        key: &'static str,
        reader: &mut Reader<'_>,
    ) -> Option<&'t toml::value::Datetime> {
        let value = self.get(key)?.get_ref();
        if value.as_datetime().is_none() {
            self.wrong_type(
                key,
                "a date and time, like 2027-01-01T00:00:00Z",
                value,
                reader,
            );
        }
        value.as_datetime()
    }

    /// A table within this one.
    pub(crate) fn table(
        &mut self,
        key: &'static str,
        reader: &mut Reader<'a>,
    ) -> Option<Section<'t, 'a>> {
        let value = self.get(key)?.get_ref();
        match value.as_table() {
            Some(table) => Some(reader.section(table, &self.place(key))),
            None => {
                self.wrong_type(key, "a table", value, reader);
                None
            }
        }
    }

    /// An array of tables; absent is empty.
    pub(crate) fn tables(
        &mut self,
        key: &'static str,
        reader: &mut Reader<'a>,
    ) -> Vec<Section<'t, 'a>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, "an array of tables", value.get_ref(), reader);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (i, item) in array.iter().enumerate() {
            let place = format!("{}[{i}]", self.place(key));
            reader.spans.insert(place.clone(), item.span());
            match item.get_ref().as_table() {
                Some(table) => sections.push(reader.section(table, &place)),
                None => {
                    let found = item.get_ref().type_str().to_owned();
                    reader.found.add(
                        place,
                        Fault::WrongType {
                            expected: "a table",
                            found,
                        },
                    );
                }
            }
        }
        sections
    }

    /// Reports the keys nobody asked for.
    pub(crate) fn close(self, reader: &mut Reader<'_>) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let place = self.place(name);
            // The key itself is wrong, not its value.
            reader.spans.insert(place.clone(), key.span());
            reader.found.add(
                place,
                Fault::UnknownKey {
                    similar: similar(name, &self.asked),
                },
            );
        }
    }
}

/// The known key that a typing error or a different ending would explain.
fn similar(name: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate))
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
