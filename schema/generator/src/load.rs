//! Reads a schema's files: the first one, and those that it includes.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::definition::Definition;
use crate::doc::Doc;
use crate::error::{Location, SchemaError};
use crate::foreign;
use crate::node::{Item, Node, parse};
use crate::pragma::Pragmas;

/// A schema that has been read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// All definitions, file by file: a file comes before those that it includes.
    pub definitions: Vec<Definition>,
    /// The headings of the files, in order.
    pub topics: Vec<Topic>,
    /// Every file read, for a build script to watch.
    pub files: Vec<PathBuf>,
    pub(crate) pragmas: Pragmas,
    origin: Origin,
}

/// Where a schema comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This project: it is checked and generated from.
    #[default]
    Own,
    /// Another program: see [`foreign`].
    Foreign,
}

/// The subject of a schema file.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The file, without its extension.
    pub module: String,
    /// Its heading.
    pub title: String,
    /// The text under the heading.
    pub text: String,
}

/// Reads a schema.
pub(crate) fn load(path: &Path, origin: Origin) -> Result<Loaded, SchemaError> {
    let mut loaded = Loaded {
        origin,
        ..Loaded::default()
    };
    let from = Location::new(&Rc::from(path.display().to_string()), 1);
    loaded.file(path, &from, &mut Vec::new())?;
    loaded.sort();
    Ok(loaded)
}

impl Loaded {
    fn sort(&mut self) {
        let files: Vec<String> = self.files.iter().map(|f| f.display().to_string()).collect();
        self.definitions
            .sort_by_key(|of| files.iter().position(|file| file == of.location.file()));
    }

    fn file(
        &mut self,
        path: &Path,
        from: &Location,
        including: &mut Vec<PathBuf>,
    ) -> Result<(), SchemaError> {
        if including.iter().any(|file| file == path) {
            return Err(from.error(format!("'{}' includes itself", path.display())));
        }
        if self.files.iter().any(|file| file == path) {
            return Ok(());
        }
        let text = fs::read_to_string(path)
            .map_err(|error| from.error(format!("cannot read '{}': {error}", path.display())))?;
        self.files.push(path.to_owned());
        including.push(path.to_owned());
        self.items(path, &text, including)?;
        including.pop();
        Ok(())
    }

    /// Adds a block of documentation without a definition: a heading, or text under the last one.
    fn topic(&mut self, module: &str, body: &str) {
        let (title, text) = match body.strip_prefix("= ") {
            Some(heading) => heading.split_once('\n').unwrap_or((heading, "")),
            None => ("", body),
        };
        let text = text.trim();
        if let Some(topic) = self.topics.iter_mut().find(|topic| topic.module == module) {
            let heading = if title.is_empty() {
                String::new()
            } else {
                format!("**{title}**\n\n")
            };
            topic.text.push_str(&format!("\n\n{heading}{text}"));
            return;
        }
        let title = if title.is_empty() { module } else { title };
        self.topics.push(Topic {
            module: module.to_owned(),
            title: title.to_owned(),
            text: text.to_owned(),
        });
    }

    fn items(
        &mut self,
        path: &Path,
        text: &str,
        including: &mut Vec<PathBuf>,
    ) -> Result<(), SchemaError> {
        let file: Rc<str> = Rc::from(path.display().to_string());
        let module = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut pending: Option<Doc> = None;
        for item in parse(&file, text)? {
            match item {
                Item::Doc(..) if self.origin == Origin::Foreign => {}
                Item::Doc(location, lines) => {
                    unclaimed(pending.take())?;
                    let doc = Doc::parse(&file, location, &lines)?;
                    if doc.symbol.is_some() {
                        pending = Some(doc);
                    } else {
                        self.topic(&module, &doc.body);
                    }
                }
                Item::Object(node) => match directive(&node)? {
                    Some(("include", value)) => {
                        unclaimed(pending.take())?;
                        let name = value.text("'include'")?;
                        let included = path.parent().unwrap_or(Path::new("")).join(name);
                        self.file(&included, &value.location, including)?;
                    }
                    Some((_, value)) => {
                        unclaimed(pending.take())?;
                        self.pragmas.add(value)?;
                    }
                    None => {
                        let node = match self.origin {
                            Origin::Own => node,
                            Origin::Foreign => foreign::plain_definition(node),
                        };
                        let definition = Definition::from_node(&node, &module, pending.take())?;
                        self.definitions.push(definition);
                    }
                },
            }
        }
        unclaimed(pending)
    }
}

/// An include or a pragma: an object that is not a definition.
fn directive(node: &Node) -> Result<Option<(&'static str, &Node)>, SchemaError> {
    let members = node.members("a definition")?;
    for name in ["include", "pragma"] {
        if let Some((_, value)) = members.iter().find(|(key, _)| key == name) {
            if members.len() > 1 {
                return Err(node
                    .location
                    .error(format!("'{name}' stands alone in its object")));
            }
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

fn unclaimed(doc: Option<Doc>) -> Result<(), SchemaError> {
    match doc {
        Some(Doc {
            symbol: Some(symbol),
            location,
            ..
        }) => Err(location.error(format!(
            "documentation of '{symbol}' without its definition"
        ))),
        _ => Ok(()),
    }
}
