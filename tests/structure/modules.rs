//! The modules of a crate, parsed from its source files: definitions, imports and paths of each. Code that is only compiled for
//! tests is left out.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path in the source code, such as `crate::corpus::Sentence`, with its line.
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// One name that a `use` declaration brings into scope.
pub(crate) struct Import {
    pub(crate) path: NamedPath,
    /// `None` for a glob import.
    pub(crate) name: Option<String>,
}

/// A module: the contents of a file, or of a `mod name { ... }` block in it.
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    pub(crate) parent: Option<usize>,
    pub(crate) children: HashMap<String, usize>,
    /// Names of the items that the module itself defines; a macro's also with `!`.
    pub(crate) items: HashSet<String>,
    pub(crate) imports: Vec<Import>,
    /// Every path outside `use` declarations.
    pub(crate) paths: Vec<NamedPath>,
    /// The folder with the files of the module's children.
    folder: PathBuf,
}

/// The modules that are reachable from a crate's root file. The root is the first.
pub(crate) fn read_modules(root: &Path) -> Vec<Module> {
    let mut modules = vec![Module::new(root, None, root.parent().unwrap())];
    Reader {
        modules: &mut modules,
        module: 0,
        depth: 0,
    }
    .visit_file(&parse(root));
    modules
}

impl Module {
    fn new(file: &Path, parent: Option<usize>, folder: &Path) -> Self {
        let (file, folder) = (file.to_owned(), folder.to_owned());
        Self {
            file,
            parent,
            folder,
            children: HashMap::new(),
            items: HashSet::new(),
            imports: vec![],
            paths: vec![],
        }
    }
}

fn parse(file: &Path) -> syn::File {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = text
        .parse()
        .map_err(syn::Error::from)
        .and_then(|tokens| syn::parse2(without_tests(tokens)));
    parsed.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Removes items with `#[cfg(test)]` or `#[test]`, together with their other attributes.
fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = vec![];
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group)
                if group.delimiter() == Delimiter::Bracket && is_test_attribute(group.stream()) =>
            {
                kept.pop();
                while let [.., TokenTree::Punct(mark), TokenTree::Group(_)] = kept.as_slice()
                    && mark.as_char() == '#'
                {
                    kept.truncate(kept.len() - 2);
                }
                skip_marked(&mut tokens);
            }
            TokenTree::Group(group) => {
                let mut inner = proc_macro2::Group::new(group.delimiter(), without_tests(group.stream()));
                inner.set_span(group.span());
                kept.push(inner.into());
            }
            other => kept.push(other),
        }
    }
    kept.into_iter().collect()
}

/// Skips the item, statement, field or match arm that follows an attribute.
fn skip_marked(tokens: &mut impl Iterator<Item = TokenTree>) {
    let (mut ends_at_brace, mut ends_at_comma, mut angles) = (true, true, 0);
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => match ident.to_string().as_str() {
                "const" | "let" | "static" | "type" | "use" => {
                    (ends_at_brace, ends_at_comma) = (false, false);
                }
                "enum" | "fn" | "impl" | "mod" | "struct" | "trait" => {
                    (ends_at_brace, ends_at_comma) = (true, false);
                }
                _ => {}
            },
            TokenTree::Group(group) if ends_at_brace && group.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(punct) => match punct.as_char() {
                ';' => return,
                ',' if ends_at_comma && angles == 0 => return,
                '<' => angles += 1,
                '>' => angles -= 1,
                _ => {}
            },
            TokenTree::Group(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Whether an attribute restricts an item to tests: `test`, or `cfg` with a condition that only holds in tests.
fn is_test_attribute(attribute: TokenStream) -> bool {
    match syn::parse2(attribute) {
        Ok(syn::Meta::Path(path)) => path.is_ident("test"),
        Ok(syn::Meta::List(list)) if list.path.is_ident("cfg") => list
            .parse_args()
            .is_ok_and(|condition| !can_hold_without_test(&condition)),
        _ => false,
    }
}

fn can_hold_without_test(condition: &syn::Meta) -> bool {
    let syn::Meta::List(list) = condition else {
        return !condition.path().is_ident("test");
    };
    let conditions =
        list.parse_args_with(syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated);
    let mut conditions = conditions.iter().flatten();
    match &list.path {
        path if path.is_ident("all") => conditions.all(can_hold_without_test),
        path if path.is_ident("any") => conditions.any(can_hold_without_test),
        _ => true,
    }
}

struct Reader<'a> {
    modules: &'a mut Vec<Module>,
    module: usize,
    /// The number of items around the current one.
    depth: usize,
}

impl Reader<'_> {
    fn add_path(&mut self, segments: Vec<String>, start: &Ident) {
        let line = start.span().start().line;
        self.modules[self.module].paths.push(NamedPath { segments, line });
    }

    fn add_import(&mut self, tree: &syn::UseTree, prefix: &[String], line: usize) {
        let (last, name) = match tree {
            syn::UseTree::Path(path) => {
                return self.add_import(&path.tree, &joined(prefix, &path.ident), line);
            }
            syn::UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|tree| self.add_import(tree, prefix, line));
            }
            syn::UseTree::Name(name) => (Some(&name.ident), Some(&name.ident)),
            syn::UseTree::Rename(rename) => (Some(&rename.ident), Some(&rename.rename)),
            syn::UseTree::Glob(_) => (None, None),
        };
        // `use a::b::{self}` imports `b`.
        let segments = last
            .filter(|last| *last != "self")
            .map_or(prefix.to_vec(), |last| joined(prefix, last));
        let name = if name.is_some_and(|name| name == "self") {
            segments.last().cloned()
        } else {
            name.map(Ident::to_string)
        };
        self.modules[self.module].imports.push(Import {
            path: NamedPath { segments, line },
            name,
        });
    }

    /// Reads the paths in the tokens of a macro call or an attribute, and in their strings: `default = "crate::limits::default"`.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<Ident> = vec![];
        let mut previous = ['\0'; 2];
        for token in tokens {
            let mut mark = '\0';
            match token {
                TokenTree::Ident(ident) if previous == [':', ':'] && !path.is_empty() => path.push(ident),
                // The lifetime `'a` and the method call `.a()` name no item.
                TokenTree::Ident(ident) if !matches!(previous[1], '\'' | '.') => {
                    self.end_path(&mut path);
                    path.push(ident);
                }
                TokenTree::Ident(_) => self.end_path(&mut path),
                TokenTree::Punct(punct) => {
                    mark = punct.as_char();
                    if mark != ':' {
                        self.end_path(&mut path);
                    }
                }
                TokenTree::Group(group) => {
                    self.end_path(&mut path);
                    self.read_tokens(group.stream());
                }
                TokenTree::Literal(literal) => {
                    if let Ok(syn::Lit::Str(text)) = syn::parse2(TokenTree::from(literal).into())
                        && let Ok(path) = text.parse::<syn::Path>()
                    {
                        self.visit_path(&path);
                    }
                }
            }
            previous = [previous[1], mark];
        }
        self.end_path(&mut path);
    }

    fn end_path(&mut self, path: &mut Vec<Ident>) {
        if let Some(first) = path.first() {
            self.add_path(path.iter().map(Ident::to_string).collect(), first);
        }
        path.clear();
    }
}

fn joined(prefix: &[String], last: &Ident) -> Vec<String> {
    prefix.iter().cloned().chain([last.to_string()]).collect()
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let name = match item {
            syn::Item::Const(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Fn(item) => Some(&item.sig.ident),
            syn::Item::Macro(item) => item.ident.as_ref(),
            syn::Item::Static(item) => Some(&item.ident),
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            syn::Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        if let (0, Some(name)) = (self.depth, name) {
            let items = &mut self.modules[self.module].items;
            items.insert(name.to_string());
            if matches!(item, syn::Item::Macro(_)) {
                items.insert(format!("{name}!"));
            }
        }
        let is_module = matches!(item, syn::Item::Mod(_));
        self.depth += usize::from(!is_module);
        visit::visit_item(self, item);
        self.depth -= usize::from(!is_module);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let (name, number) = (item.ident.to_string(), self.modules.len());
        let parent = &self.modules[self.module];
        let folder = parent.folder.join(&name);
        let named = item.attrs.iter().find_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(syn::MetaNameValue {
                path,
                value: syn::Expr::Lit(value),
                ..
            }) if path.is_ident("path") => Some(&value.lit),
            _ => None,
        });
        let file = match named {
            _ if item.content.is_some() => parent.file.clone(),
            Some(syn::Lit::Str(path)) => parent.file.parent().unwrap().join(path.value()),
            _ => [folder.with_extension("rs"), folder.join("mod.rs")]
                .into_iter()
                .find(|file| file.exists())
                .unwrap(),
        };
        self.modules.push(Module::new(&file, Some(self.module), &folder));
        self.modules[self.module].children.insert(name, number);
        let mut reader = Reader {
            modules: self.modules,
            module: number,
            depth: 0,
        };
        match &item.content {
            Some((_, items)) => items.iter().for_each(|item| reader.visit_item(item)),
            None => parse(&file).items.iter().for_each(|item| reader.visit_item(item)),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.add_import(&item.tree, &[], item.use_token.span.start().line);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            self.add_path(segments, &path.segments[0].ident);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        match call.path.get_ident() {
            Some(name) => self.add_path(vec![format!("{name}!")], name),
            None => self.visit_path(&call.path),
        }
        self.read_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.read_tokens(list.tokens.clone());
        }
    }

    /// Ignores `pub(in path)`, which names a parent module without importing from it.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}
