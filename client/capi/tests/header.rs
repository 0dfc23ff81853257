//! The header: which compilers accept it, and whether they agree with Rust on its layouts.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use faultvisor_qapi_generator::{c_library, load};
use support::{Language, Workshop};

const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include/libqmp.h");

/// The header alone, included twice.
const TWICE: &str = "#include \"libqmp.h\"\n#include \"libqmp.h\"\nint unused(void);\n";

#[test]
fn the_kept_header_is_up_to_date() {
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(HEADER, qmp::HEADER).unwrap();
    }
    let kept = fs::read_to_string(HEADER).unwrap_or_default();
    assert!(
        kept == qmp::HEADER,
        "include/libqmp.h is stale: `UPDATE_REFERENCE=1 cargo test -p libqmp-capi --test header` writes it"
    );
}

#[test]
fn the_header_is_c99_without_a_warning() {
    assert_eq!(Workshop::new().compiles(Language::C99, TWICE), Ok(()));
}

#[test]
fn the_header_is_cxx11_without_a_warning() {
    assert_eq!(Workshop::new().compiles(Language::Cxx11, TWICE), Ok(()));
}

#[test]
fn the_header_coexists_with_other_headers() {
    let headers = [
        "errno.h",
        "complex.h",
        "stdio.h",
        "stdlib.h",
        "signal.h",
        "unistd.h",
        "sys/stat.h",
        "sys/types.h",
        "sys/sysmacros.h",
        "netdb.h",
        "time.h",
        "iso646.h",
        "fcntl.h",
        "math.h",
    ];
    let includes: String = headers
        .iter()
        .map(|header| format!("#include <{header}>\n"))
        .collect();
    let text = format!("#define _GNU_SOURCE\n{includes}{TWICE}");
    let workshop = Workshop::new();
    assert_eq!(workshop.compiles(Language::C99, &text), Ok(()));
    // It also needs nothing that they define before it.
    let text = format!("#define _GNU_SOURCE\n{TWICE}{includes}");
    assert_eq!(workshop.compiles(Language::C99, &text), Ok(()));
}

#[test]
fn the_compiler_detects_a_wrong_type() {
    let workshop = Workshop::new();
    let wrong = format!("{TWICE}void f(QmpSession *s) {{ libqmp_query_block(s, 1); }}\n");
    assert!(workshop.compiles(Language::C99, &wrong).is_err());
    assert!(workshop.compiles(Language::Cxx11, &wrong).is_err());
}

#[test]
fn a_program_with_short_enums_gets_no_session() {
    let workshop = Workshop::new();
    let makes = "QmpSession *f(void);
        QmpSession *f(void) { return libqmp_session_new_spawn((char *[]){\"a\", \"b\", NULL}, NULL, NULL); }\n";
    let text = format!("{TWICE}{makes}");
    assert_eq!(workshop.compiles(Language::C99, &text), Ok(()));
    let why = workshop.compiles_with(Language::C99, &["-fshort-enums"], &text);
    assert!(why.unwrap_err().contains("negative"));
}

/// A header without comments and preprocessor lines.
fn declarations(header: &str) -> String {
    let mut rest = header;
    let mut text = String::new();
    while let Some((before, comment)) = rest.split_once("/*") {
        text.push_str(before);
        rest = comment.split_once("*/").unwrap().1;
    }
    text.push_str(rest);
    let is_continued = |line: &&str| line.ends_with('\\');
    let mut in_directive = false;
    let lines = text.lines().filter(|line| {
        let is_directive = in_directive || line.starts_with('#');
        in_directive = is_directive && is_continued(line);
        !is_directive
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_name_of_the_header_begins_with_one_of_its_own() {
    let text = declarations(qmp::HEADER);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = |name: &str| {
        let prefixes = ["Qmp", "QMP_", "libqmp_"];
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    // Names in braces are in a scope of their own, except constants of enumerations.
    let mut depth = 0;
    let mut in_enumeration = false;
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let code = line.trim();
        // C++ has the whole header within this block.
        if code == "extern \"C\" {" || code == "}" {
            continue;
        }
        if depth == 0 || in_enumeration {
            in_enumeration = in_enumeration || code.starts_with("typedef enum");
            let before_arguments = code.split('(').next().unwrap_or_default();
            let handler = code.split_once("(*").map(|(_, rest)| rest);
            let words = before_arguments.split(|c| !is_name(c));
            names.extend(words.chain(handler.and_then(|h| h.split(')').next())));
        }
        depth += code.matches('{').count();
        depth -= code.matches('}').count();
        if depth == 0 {
            in_enumeration = in_enumeration && !code.ends_with(';');
            let name = code
                .strip_prefix("} ")
                .map(|code| code.trim_end_matches(';'));
            names.extend(name);
        }
    }
    const LANGUAGE: [&str; 14] = [
        "", "typedef", "struct", "enum", "union", "const", "void", "char", "bool", "int",
        "int64_t", "uint8_t", "uint64_t", "size_t",
    ];
    let numbers = |name: &&str| name.chars().all(|c| c.is_ascii_digit());
    let foreign: Vec<&str> = names
        .iter()
        .filter(|name| !begins(name) && !LANGUAGE.contains(name) && !numbers(name))
        .copied()
        .collect();
    assert!(names.len() > 400, "{}", names.len());
    assert_eq!(foreign, [""; 0]);
}

#[test]
fn structures_are_laid_out_as_a_c_compiler_does() {
    let layouts = qmp::layouts();
    let mut expected = String::new();
    let mut program = "#include <stdio.h>\n#include \"libqmp.h\"\n\
        \nint main(void)\n{\n"
        .to_owned();
    for layout in &layouts {
        let name = layout.name;
        let _ = writeln!(expected, "{name} {} {}", layout.size, layout.alignment);
        let _ = writeln!(
            program,
            "    {{ struct at {{ char c; {name} x; }}; printf(\"{name} %zu %zu\\n\", sizeof({name}), offsetof(struct at, x)); }}"
        );
        for (member, offset, size) in &layout.members {
            let _ = writeln!(expected, "{name}.{member} {offset} {size}");
            let _ = writeln!(
                program,
                "    printf(\"{name}.{member} %zu %zu\\n\", offsetof({name}, {member}), sizeof((({name} *)0)->{member}));"
            );
        }
    }
    program.push_str("    return 0;\n}\n");
    let workshop = Workshop::new();
    let source = workshop.path().join("layouts.c");
    fs::write(&source, program).unwrap();
    let said = workshop.run(&workshop.link(&source, &[]), &[]);
    assert!(layouts.len() > 80 && said.lines().count() > 400, "{said}");
    let pairs = said.lines().zip(expected.lines());
    let different: Vec<_> = pairs.filter(|(c, rust)| c != rust).collect();
    assert_eq!(different, []);
    assert_eq!(said.lines().count(), expected.lines().count());
}

/// The schema's enumerations in the header: the function that names their values, and the values.
fn enumerations() -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    let mut values = Vec::new();
    for line in qmp::HEADER.lines() {
        if let Some((value, _)) = line
            .split_once(" = ")
            .filter(|(value, _)| value.starts_with("    QMP_"))
        {
            values.push(value.trim().to_owned());
        } else if line.starts_with("typedef enum ") {
            values.clear();
        } else if let Some((_, function)) = line
            .split_once("const char *")
            .filter(|_| line.ends_with(" value);"))
        {
            let (function, _) = function.split_once('(').unwrap();
            all.push((function.to_owned(), std::mem::take(&mut values)));
        }
    }
    all
}

#[test]
fn a_constant_is_the_value_that_it_is_named_after() {
    let enumerations = enumerations();
    let count: usize = enumerations.iter().map(|(_, values)| values.len()).sum();
    assert!(enumerations.len() > 10 && count > 200, "{enumerations:?}");
    let mut program = "#include <stdio.h>\n#include \"libqmp.h\"\nint main(void)\n{\n".to_owned();
    for (function, values) in &enumerations {
        for value in values {
            let _ = writeln!(
                program,
                "    printf(\"{value} %s\\n\", {function}({value}));"
            );
        }
    }
    program.push_str("    return 0;\n}\n");
    let workshop = Workshop::new();
    let source = workshop.path().join("names.c");
    fs::write(&source, program).unwrap();
    let said = workshop.run(&workshop.link(&source, &["-lqmp"]), &[]);
    assert_eq!(said.lines().count(), count);
    for line in said.lines() {
        let (constant, name) = line.split_once(' ').unwrap();
        let end = format!("_{}", name.replace(['-', '.'], "_").to_uppercase());
        assert!(constant.ends_with(&end), "{line}");
    }
}

#[test]
fn every_construct_of_the_language_has_its_form_in_c() {
    let language = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../schema/src/language/language.json"
    );
    let template = include_str!("../include/libqmp.h.in");
    let library = c_library(&load(Path::new(language)).unwrap()).unwrap();
    let workshop = Workshop::new();
    fs::write(
        workshop.path().join("libqmp.h"),
        library.header(template).unwrap(),
    )
    .unwrap();
    let uses = "
        /* A union that may hold its own kind, and an alternate of every kind of JSON, one of them by a keyword. */
        static const QmpPlace LEFT = QMP_PLACE_LEFT;
        bool use(QmpSession *session);
        bool use(QmpSession *session)
        {
            QmpFigure inner = { NULL, QMP_SHAPE_POINT, { { 0 } } };
            QmpFigure figure = { \"name\", QMP_SHAPE_POLYGON, { { 0 } } };
            QmpAnything anything = { QMP_ANYTHING_KIND_NOTHING, { { NULL, QMP_SHAPE_CIRCLE, { { 0 } } } } };
            QmpPlaceArguments arguments = { { 1, NULL }, NULL };
            QmpPolygon polygon = { { 1, &LEFT }, &inner };
            figure.u.polygon = &polygon;
            inner.shape = QMP_SHAPE_CIRCLE;
            inner.u.circle.radius = 255;
            anything.kind = QMP_ANYTHING_KIND_SWITCH;
            anything.u.switch_ = true;
            arguments.at.items = &anything;
            arguments.else_ = &anything;
            libqmp_figure_list_free(libqmp_draw(session, &figure, NULL));
            return libqmp_place(session, &arguments, NULL);
        }
    ";
    for language in [Language::C99, Language::Cxx11] {
        let text = format!("{TWICE}{uses}");
        assert_eq!(workshop.compiles(language, &text), Ok(()));
    }
}

#[test]
fn every_structure_of_the_header_is_compared() {
    let compared: BTreeSet<String> = qmp::layouts()
        .iter()
        .map(|layout| layout.name.to_owned())
        .collect();
    let declared: BTreeSet<String> = qmp::HEADER
        .lines()
        .filter_map(|line| {
            let rest = line
                .strip_prefix("struct ")
                .or_else(|| line.strip_prefix("typedef struct "))?;
            rest.strip_suffix(" {").map(str::to_owned)
        })
        .collect();
    assert_eq!(declared, compared);
}

/// The functions that a library exports, by `nm`.
fn exported(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new("nm").args(arguments).output();
    let output = output.expect("this test needs 'nm'; Debian's package is 'binutils'");
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split(' ').next_back());
    names.map(str::to_owned).collect()
}

#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    let workshop = Workshop::new();
    let library = workshop.path().join("libqmp.so");
    let exported = exported(&["-D", "--defined-only", library.to_str().unwrap()]);
    let code: Vec<&str> = qmp::HEADER
        .lines()
        .filter(|line| !line.trim_start().starts_with(['*', '/']))
        .collect();
    let declared: BTreeSet<String> = code
        .iter()
        .filter_map(|line| {
            let (_, after) = line.split_once("libqmp_")?;
            let (name, _) = after.split_once('(')?;
            Some(format!("libqmp_{name}"))
        })
        .collect();
    assert!(declared.len() > 100);
    assert_eq!(exported, declared);
}

#[test]
fn programs_ask_for_the_library_by_the_name_that_grows_when_it_breaks_them() {
    let workshop = Workshop::new();
    let library = workshop.path().join("libqmp.so");
    let output = Command::new("objdump").arg("-p").arg(&library).output();
    let output = output.expect("this test needs 'objdump'; Debian's package is 'binutils'");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let soname = text.lines().find(|line| line.contains("SONAME")).unwrap();
    assert!(soname.ends_with(" libqmp.so.1"), "{soname}");
}
