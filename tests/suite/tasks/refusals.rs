//! What is refused, by which name, and that nothing else can go wrong.

use std::fs;
use std::sync::LazyLock;

use neuronc::task::{TaskModel, prepare};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{property_cases, repository};
use crate::tasks::{FIXTURES, check_refused, model, outputs};

#[test]
fn long_names_and_lists_are_not_repeated() {
    let model = model("feature-extraction", 48);
    let name = "x".repeat(100_000);
    let invalid = prepare(&model, &json!({"inputs": "a", "parameters": {name: 1}})).unwrap_err();
    assert!(invalid.message.len() < 300, "{invalid}");
    let many = json!({"inputs": vec!["a"; 2000]});
    check_refused(&model, &many, ("too_many", "inputs"), &["2000", "1024"]);
}

#[test]
fn long_texts_are_cut_only_where_the_request_asks_for_it() {
    let words = "cat ".repeat(300);
    for name in FIXTURES {
        let model = model(name, 48);
        let inputs = match name {
            "question-answering" => continue,
            "fill-mask" => json!(format!("[MASK] {words} [MASK]")),
            _ => json!(words),
        };
        let body = |parameters| json!({"inputs": inputs, "parameters": parameters});
        for parameters in [
            json!({}),
            json!({"truncate": false}),
            json!({"truncate": null}),
        ] {
            let expected = ("too_long", "inputs");
            check_refused(
                &model,
                &body(parameters),
                expected,
                &["30", "tokens", "48", "truncate"],
            );
        }
        for parameters in [
            json!({"truncate": true}),
            json!({"truncation": true, "truncation_direction": "Left"}),
        ] {
            let prepared = prepare(&model, &body(parameters)).unwrap();
            assert_eq!(prepared.rows.len(), 1, "{name}");
            assert_eq!(prepared.rows[0].ids.len(), 48, "{name}");
        }
    }
}

#[test]
fn a_question_without_room_is_refused_with_the_numbers() {
    let model = model("question-answering", 64);
    let context = "cat ".repeat(500);
    let body = |question: &str, parameters: Value| json!({"inputs": {"question": question, "context": context}, "parameters": parameters});
    let no_room = ("no_room", "inputs.question");
    check_refused(
        &model,
        &body(&"who ".repeat(61), json!({})),
        no_room,
        &["0 tokens", "64"],
    );
    let shared = json!({"doc_stride": 20});
    check_refused(
        &model,
        &body(&"who ".repeat(41), shared),
        no_room,
        &["20 tokens", "64", "`doc_stride`"],
    );
    let longer = ("bad_parameter", "parameters.max_seq_len");
    check_refused(
        &model,
        &body("who", json!({"max_seq_len": 65})),
        longer,
        &["65", "64"],
    );
    // Without a wish of the request, windows share what the question leaves room for.
    let prepared = prepare(&model, &body(&"who ".repeat(41), json!({}))).unwrap();
    assert_eq!(prepared.rows.len(), 49);
    let cut = json!({"max_question_len": 4});
    let prepared = prepare(&model, &body(&"who ".repeat(61), cut)).unwrap();
    assert!(
        prepared
            .rows
            .iter()
            .all(|row| row.type_ids.iter().filter(|id| **id == 0).count() == 6)
    );
}

#[test]
fn a_request_has_no_more_rows_than_it_may() {
    let answerer = model("question-answering", 16);
    let many = json!({"inputs": {"question": "a", "context": "cat ".repeat(9000)}});
    check_refused(&answerer, &many, ("too_many", "inputs.context"), &["1024"]);
    // Windows that hardly move are counted, not made.
    let text = "cat ".repeat(100_000);
    let answerer = model("question-answering", 64);
    let inputs = json!({"question": "a", "context": text});
    let many = json!({"inputs": inputs, "parameters": {"doc_stride": 59}});
    check_refused(
        &answerer,
        &many,
        ("too_many", "inputs.context"),
        &["99941", "1024"],
    );
    let labeller = model("token-classification", 64);
    let many = json!({"inputs": text, "parameters": {"stride": 61}});
    check_refused(&labeller, &many, ("too_many", "inputs"), &["99939", "1024"]);
    let fill = model("fill-mask", 64);
    let many = json!({"inputs": ["[MASK] ".repeat(40), "[MASK] ".repeat(40)]});
    check_refused(&fill, &many, ("too_many", "inputs[1]"), &["80", "64"]);
}

#[test]
fn every_parameter_is_documented() {
    let page = fs::read_to_string(repository().join("docs/predict.md")).unwrap();
    for name in FIXTURES {
        let body = json!({"inputs": "a", "parameters": {"?": 1}});
        let invalid = prepare(&model(name, 64), &body).unwrap_err();
        let (_, known) = invalid.message.split_once("known: ").unwrap();
        let documented = |name: &str| page.contains(&format!("\n| `{name}` | "));
        let names = known.split('`').skip(1).step_by(2);
        let missing: Vec<&str> = names.filter(|name| !documented(name)).collect();
        assert_eq!(missing, [""; 0], "{name}");
    }
}

static MODELS: LazyLock<Vec<TaskModel>> =
    LazyLock::new(|| FIXTURES.map(|name| model(name, 64)).into());

proptest! {
    #![proptest_config(ProptestConfig { cases: property_cases(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_is_too_strange(body in any_json(), inputs in any_json(), tokens_max in 1usize..20) {
        for model in MODELS.iter() {
            let model = TaskModel { tokens_max, ..model.clone() };
            for body in [body.clone(), json!({"inputs": inputs}), json!({"inputs": inputs, "parameters": body})] {
                if let Ok(prepared) = prepare(&model, &body) {
                    prop_assert!(!prepared.rows.is_empty());
                    prop_assert!(prepared.rows.iter().all(|row| row.ids.len() <= tokens_max));
                    let outputs = outputs(&model, &prepared.rows, |row, place| ((row * 7 + place * 3) % 11) as f32);
                    prop_assert!(prepared.answer(outputs).is_ok());
                }
            }
        }
    }
}

/// JSON of any shape, out of the names and values that requests are made of and of junk.
fn any_json() -> impl Strategy<Value = Value> {
    let names = "inputs|parameters|question|context|text|text_pair|top_k|truncate|doc_stride|max_seq_len|stride|\
                 max_question_len|max_answer_len|aggregation_strategy|ignore_labels|targets|function_to_apply|.{0,3}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u64..70).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "none|simple|first|average|max|\\PC{0,40}|([a-z#\\[\\]]{1,6} ?){0,40}"
            .prop_map(Value::from),
        Just(json!("a [MASK] [SEP] 東京🙂e\u{301} [PAD]")),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner.clone(), 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            (inner.clone(), inner.clone()).prop_map(|(q, c)| json!({"question": q, "context": c})),
            (inner.clone(), inner).prop_map(
                |(inputs, parameters)| json!({"inputs": inputs, "parameters": parameters})
            ),
        ]
    })
}
