//! Constructs of the language that the schema does not use yet, generated, compiled and tested.

#![allow(dead_code, missing_docs)]

use std::sync::mpsc;

use serde_json::{Value, json};

use crate::{Decode, Path};

include!(concat!(env!("OUT_DIR"), "/language.rs"));

fn decoded<T: Decode>(value: Value) -> T {
    T::decode(value, &Path::ROOT).unwrap()
}

fn refused<T: Decode + std::fmt::Debug>(value: Value) -> String {
    T::decode(value, &Path::ROOT).unwrap_err().desc
}

fn nested() -> Value {
    json!({
        "shape": "polygon",
        "corners": ["left", "right"],
        "within": {"name": "outer", "shape": "circle", "radius": 3},
    })
}

#[test]
fn a_union_is_its_base_and_one_branch() {
    let figure: Figure = decoded(nested());
    assert_eq!(figure.shape.tag(), Shape::Polygon);
    let FigureBranch::Polygon(polygon) = &figure.shape else {
        panic!("{figure:?}")
    };
    let within = polygon.within.as_deref().unwrap();
    assert_eq!(within.name.as_deref(), Some("outer"));
    assert_eq!(within.shape, FigureBranch::Circle(Circle { radius: 3 }));
    assert_eq!(serde_json::to_value(&figure).unwrap(), nested());
}

#[test]
fn both_decoders_agree() {
    for figure in [nested(), json!({"shape": "point", "name": "p"})] {
        let read: Figure = serde_json::from_str(&figure.to_string()).unwrap();
        assert_eq!(read, decoded(figure));
    }
    for anything in [
        json!(7),
        json!(true),
        json!(null),
        json!("left"),
        json!(["right"]),
        nested(),
    ] {
        let read: Anything = serde_json::from_str(&anything.to_string()).unwrap();
        assert_eq!(read, decoded(anything));
    }
    assert!(serde_json::from_str::<Figure>("{\"shape\": \"circle\"}").is_err());
    assert!(serde_json::from_str::<Circle>("{\"radius\": 256}").is_err());
}

#[test]
fn a_value_of_the_discriminator_may_add_nothing() {
    let point: Figure = decoded(json!({"shape": "point"}));
    assert_eq!(point.shape, FigureBranch::Point);
    assert_eq!(
        serde_json::to_value(&point).unwrap(),
        json!({"shape": "point"})
    );
    assert_eq!(
        refused::<Figure>(json!({"shape": "point", "radius": 3})),
        "Parameter 'radius' is unexpected"
    );
}

#[test]
fn an_error_within_a_branch_is_named_by_its_path() {
    let within = |inner: Value| json!([{"shape": "polygon", "corners": [], "within": inner}]);
    for (inner, message) in [
        (
            json!({"shape": "circle", "radius": 256}),
            "Parameter '[0].within.radius' expects an integer from 0 to 255",
        ),
        (
            json!({"shape": "circle"}),
            "Parameter '[0].within.radius' is missing",
        ),
        (
            json!({"shape": "line"}),
            "Parameter '[0].within.shape' does not accept value 'line'",
        ),
        (
            json!({"radius": 1}),
            "Parameter '[0].within.shape' is missing",
        ),
        (
            json!({"shape": "circle", "radius": 1, "corners": []}),
            "Parameter '[0].within.corners' is unexpected",
        ),
        (
            json!(1),
            "Invalid parameter type for '[0].within', expected: object",
        ),
    ] {
        assert_eq!(refused::<Vec<Figure>>(within(inner)), message);
    }
}

#[test]
fn an_alternates_json_kind_selects_it() {
    for (value, expected) in [
        (json!("left"), Anything::Place(Place::Left)),
        (json!(-5), Anything::Count(-5)),
        (json!(true), Anything::Switch(true)),
        (json!(null), Anything::Nothing(crate::Null)),
        (json!(["right"]), Anything::Places(vec![Place::Right])),
        (
            json!({"shape": "point"}),
            Anything::Figure(Figure {
                name: None,
                shape: FigureBranch::Point,
            }),
        ),
    ] {
        assert_eq!(decoded::<Anything>(value.clone()), expected);
        assert_eq!(serde_json::to_value(&expected).unwrap(), value);
    }
}

#[test]
fn a_value_that_fits_no_alternative_is_refused() {
    let place = |at: Value| refused::<PlaceArguments>(json!({"at": [null, at]}));
    assert_eq!(
        place(json!("up")),
        "Parameter 'at[1]' does not accept value 'up'"
    );
    assert_eq!(
        place(json!(1.5)),
        "Invalid parameter type for 'at[1]', expected: integer"
    );
    let draw = json!({"at": [], "else": {"shape": "circle", "radius": true}});
    assert_eq!(
        refused::<PlaceArguments>(draw),
        "Invalid parameter type for 'else.radius', expected: integer"
    );
}

#[test]
fn a_union_is_a_commands_arguments_and_an_events_data() {
    let Value::Object(arguments) = nested() else {
        panic!("an object")
    };
    let figure: Figure = decoded(nested());
    assert_eq!(
        Command::decode("draw", arguments).unwrap(),
        Command::Machine(MachineCommand::Draw(Box::new(figure.clone())))
    );
    assert_eq!(
        serde_json::to_value(Event::Drawn(figure)).unwrap(),
        json!({"event": "DRAWN", "data": nested()})
    );
}

/// Keeps the replies of `draw`, to be answered later.
#[derive(Default)]
struct Drawing(Vec<(Figure, crate::Reply<Vec<Figure>>)>);

impl MachineCommands for Drawing {
    fn draw(&mut self, figure: Figure, reply: crate::Reply<Vec<Figure>>) {
        self.0.push((figure, reply));
    }

    fn place(&mut self, _: PlaceArguments) -> Result<(), crate::CommandError> {
        Ok(())
    }
}

#[test]
fn a_command_that_takes_time_is_answered_with_what_it_returns() {
    let mut drawing = Drawing::default();
    let (sender, answers) = mpsc::channel();
    let figure: Figure = decoded(nested());
    MachineCommand::Draw(Box::new(figure.clone())).execute(
        &mut drawing,
        crate::Reply::new(move |result| sender.send(result).unwrap()),
    );
    assert!(answers.try_recv().is_err());
    let (drawn, reply) = drawing.0.pop().unwrap();
    reply.send(Ok(vec![drawn]));
    assert_eq!(
        answers.try_recv().unwrap(),
        Ok(MachineReturn::Draw(vec![figure]))
    );
}

#[test]
fn introspection_of_every_construct_is_as_qemu_renders_it() {
    let rendered: Vec<Value> = entities()
        .iter()
        .map(|entity| serde_json::to_value(entity).unwrap())
        .collect();
    for entity in [
        json!({"name": "draw", "meta-type": "command", "arg-type": "0", "ret-type": "[0]"}),
        json!({"name": "DRAWN", "meta-type": "event", "arg-type": "0"}),
        json!({"name": "get-drawn-event", "meta-type": "command", "arg-type": "3", "ret-type": "int", "allow-oob": true}),
        json!({"name": "0", "meta-type": "object", "tag": "shape",
               "members": [{"name": "name", "type": "str", "default": null}, {"name": "shape", "type": "4"}],
               "variants": [{"case": "circle", "type": "5"}, {"case": "polygon", "type": "6"},
                            {"case": "point", "type": "2"}]}),
        json!({"name": "4", "meta-type": "enum", "values": ["circle", "polygon", "point"],
               "members": [{"name": "circle"}, {"name": "polygon", "features": ["unstable"]}, {"name": "point"}]}),
        json!({"name": "7", "meta-type": "alternate",
               "members": [{"type": "0"}, {"type": "8"}, {"type": "int"}, {"type": "bool"}, {"type": "null"},
                           {"type": "[8]"}]}),
        json!({"name": "null", "meta-type": "builtin", "json-type": "null"}),
    ] {
        assert!(
            rendered.contains(&entity),
            "{entity} is missing in {rendered:#?}"
        );
    }
}
