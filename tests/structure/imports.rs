//! The imports between the files of a crate.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::modules::{Module, read_modules};

/// For each file, the files that it imports from, with each imported name and the first line that uses the name.
pub(crate) type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeMap<String, usize>>>;

/// The imports between the files that are reachable from a crate's root file.
///
/// A name that a module re-exports is imported from that module's file and from the file that defines the name. Declaring a
/// child module is not an import, and neither is a module in the middle of a path.
pub(crate) fn read_imports(root: &Path) -> Imports {
    let modules = read_modules(root);
    let mut imports = Imports::new();
    for (number, module) in modules.iter().enumerate() {
        for path in module
            .imports
            .iter()
            .map(|import| &import.path)
            .chain(&module.paths)
        {
            add(
                &mut imports,
                &modules,
                number,
                path.line,
                resolve(&modules, number, &path.segments).sources,
            );
        }
        for import in module.imports.iter().filter(|import| import.name.is_none()) {
            if let Some(Target::Module(target)) = resolve(&modules, number, &import.path.segments).target {
                add(
                    &mut imports,
                    &modules,
                    number,
                    import.path.line,
                    vec![(target, "*".to_owned())],
                );
            }
        }
    }
    imports
}

fn add(imports: &mut Imports, modules: &[Module], number: usize, line: usize, sources: Vec<(usize, String)>) {
    let from = &modules[number].file;
    for (source, name) in sources
        .into_iter()
        .filter(|(source, _)| modules[*source].file != *from)
    {
        let names = imports
            .entry(from.clone())
            .or_default()
            .entry(modules[source].file.clone())
            .or_default();
        names.entry(name).or_insert(line);
    }
}

/// Resolves a path in a module's code.
fn resolve<'a>(modules: &'a [Module], module: usize, path: &[String]) -> Resolver<'a> {
    let mut resolver = Resolver {
        modules,
        sources: vec![],
        visited: HashSet::new(),
        target: None,
    };
    resolver.target = resolver.resolve(module, path);
    resolver
}

#[derive(Clone, Copy)]
enum Target {
    Module(usize),
    Item,
}

/// Where the first name of a path is looked up.
#[derive(Clone, Copy, PartialEq)]
enum Lookup {
    /// In the scope of the code that has the path: an unknown name is another crate's or a local one.
    Scope,
    /// In a module that the path names: an unknown name is an item that a macro defines.
    Member,
    /// In a module that is imported with `*`: an unknown name may come from elsewhere.
    Glob,
}

struct Resolver<'a> {
    modules: &'a [Module],
    /// The modules that re-export or define what the path names, and by which name.
    sources: Vec<(usize, String)>,
    visited: HashSet<(usize, String)>,
    target: Option<Target>,
}

impl Resolver<'_> {
    /// `None` if the path does not belong to this crate.
    fn resolve(&mut self, module: usize, path: &[String]) -> Option<Target> {
        let mut current = module;
        let supers = path
            .iter()
            .take_while(|segment| *segment == "super" || *segment == "self")
            .count();
        for _ in path[..supers].iter().filter(|segment| *segment == "super") {
            current = self.modules[current].parent?;
        }
        match path {
            [first, rest @ ..] if first == "crate" => self.member(0, rest),
            _ if supers > 0 => self.member(current, &path[supers..]),
            [] => None,
            _ => self.look_up(module, path, Lookup::Scope),
        }
    }

    fn member(&mut self, module: usize, path: &[String]) -> Option<Target> {
        if path.is_empty() {
            Some(Target::Module(module))
        } else {
            self.look_up(module, path, Lookup::Member)
        }
    }

    fn look_up(&mut self, number: usize, path: &[String], lookup: Lookup) -> Option<Target> {
        let (name, rest) = (&path[0], &path[1..]);
        if !self.visited.insert((number, name.clone())) {
            return None;
        }
        let module = &self.modules[number];
        let is_item = module.items.contains(name);
        if let Some(&child) = module.children.get(name).filter(|_| !is_item || !rest.is_empty()) {
            return self.member(child, rest);
        }
        if is_item {
            self.sources.push((number, name.clone()));
            return Some(Target::Item);
        }
        if let Some(import) = module
            .imports
            .iter()
            .find(|import| import.name.as_ref() == Some(name))
        {
            let target = self.resolve(number, &import.path.segments);
            if lookup != Lookup::Scope {
                self.sources.push((number, name.clone()));
            }
            return match target {
                Some(Target::Module(target)) => self.member(target, rest),
                Some(Target::Item) => Some(Target::Item),
                None => (lookup != Lookup::Scope).then_some(Target::Item),
            };
        }
        for glob in module.imports.iter().filter(|import| import.name.is_none()) {
            if let Some(Target::Module(target)) = self.resolve(number, &glob.path.segments)
                && let found @ Some(_) = self.look_up(target, path, Lookup::Glob)
            {
                if lookup != Lookup::Scope {
                    self.sources.push((number, name.clone()));
                }
                return found;
            }
        }
        if lookup == Lookup::Member {
            self.sources.push((number, name.clone()));
            return Some(Target::Item);
        }
        self.textual_macro(number, name)
    }

    /// A macro that a parent module defines is in scope without a path.
    fn textual_macro(&mut self, mut number: usize, name: &str) -> Option<Target> {
        while name.ends_with('!') {
            number = self.modules[number].parent?;
            if self.modules[number].items.contains(name) {
                self.sources.push((number, name.to_owned()));
                return Some(Target::Item);
            }
        }
        None
    }
}
