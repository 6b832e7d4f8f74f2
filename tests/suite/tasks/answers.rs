//! What answers look like, and where they may lie.

use neuronc::failure::{Class, Failure};
use neuronc::task::feature_extraction::{self, Options};
use neuronc::task::invalid::InvalidCode;
use neuronc::task::tokens::{Side, Text, Truncation};
use neuronc::task::{NonFinite, OneOrMany, prepare};
use serde_json::{Value, json};

use crate::tasks::{FIXTURES, answer, check_refused, model, outputs};

#[test]
fn a_list_is_answered_with_a_list() {
    let rising = |row: usize, place: usize| (row * 10 + place) as f32 / 100.0;
    let context = json!({"question": "who", "context": "a cat"});
    for (name, one) in [
        ("feature-extraction", json!("a")),
        ("feature-extraction-plain", json!("a")),
        ("token-classification", json!("a")),
        ("fill-mask", json!("a [MASK]")),
        ("question-answering", context),
    ] {
        let model = model(name, 64);
        let alone = answer(&model, &json!({"inputs": one}), rising);
        let listed = answer(&model, &json!({"inputs": [one]}), rising);
        assert_eq!(listed, json!([alone]), "{name}");
        let two = answer(&model, &json!({"inputs": [one, one]}), rising);
        assert_eq!(two[0], alone, "{name}");
        assert_eq!(two.as_array().unwrap().len(), 2, "{name}");
    }
    let model = model("text-classification", 64);
    for inputs in [json!("a"), json!(["a"]), json!({"text": "a"})] {
        let labels = answer(&model, &json!({"inputs": inputs}), rising);
        assert_eq!(labels[0][0]["label"], "positive");
        assert_eq!(labels.as_array().unwrap().len(), 1);
        assert_eq!(labels[0].as_array().unwrap().len(), 1);
    }
}

#[test]
fn answers_lie_in_the_context_and_end_after_they_start() {
    let model = model("question-answering", 64);
    let context = "The cat 🐈 lives in 東京.";
    let ask = |parameters: Value, best: (usize, usize)| {
        let body =
            json!({"inputs": {"question": "Where?", "context": context}, "parameters": parameters});
        answer(&model, &body, |_, place| match place {
            place if place == 2 * best.0 || place == 2 * best.1 + 1 => 9.0,
            _ => 0.0,
        })
    };
    // [CLS] w ##h ##e ##r ##e ? [SEP] the cat [UNK] lives in 東 京 . [SEP]
    let span = |answer: &Value| -> String {
        let number = |key: &str| usize::try_from(answer[key].as_u64().unwrap()).unwrap();
        let characters: Vec<char> = context.chars().collect();
        characters[number("start")..number("end")].iter().collect()
    };
    let rows = prepare(
        &model,
        &json!({"inputs": {"question": "Where?", "context": context}}),
    )
    .unwrap()
    .rows;
    let last = rows[0].ids.len() - 1;
    let first = last - 8;
    let good = ask(json!({}), (first + 2, last - 2));
    assert_eq!(good["answer"], "🐈 lives in 東京");
    assert_eq!(span(&good), "🐈 lives in 東京");
    for beyond in [(0, 0), (1, 2), (last, last), (last - 1, first), (0, last)] {
        for answer in ask(json!({"top_k": 100}), beyond).as_array().unwrap() {
            assert_eq!(answer["answer"], span(answer));
            assert_ne!(answer["answer"], "");
        }
    }
    let none = ask(json!({"handle_impossible_answer": true}), (0, 0));
    assert_eq!(
        (&none["answer"], &none["start"], &none["end"]),
        (&json!(""), &json!(0), &json!(0))
    );
    assert!(none["score"].as_f64().unwrap() > 0.9);
    let short = ask(json!({"max_answer_len": 1, "top_k": 2}), (first, last - 1));
    assert_eq!(short.as_array().unwrap().len(), 2);
    assert!(
        short
            .as_array()
            .unwrap()
            .iter()
            .all(|answer| !span(answer).contains(' '))
    );
}

#[test]
fn long_texts_are_labelled_in_windows_where_the_request_asks_for_it() {
    let model = model("token-classification", 16);
    let text = "Ada lives in Paris. ".repeat(8);
    let body =
        json!({"inputs": text, "parameters": {"stride": 4, "aggregation_strategy": "simple"}});
    let tokens_max = prepare(&model, &body)
        .unwrap()
        .rows
        .iter()
        .map(|row| row.ids.len())
        .max();
    assert_eq!(tokens_max, Some(16));
    // Every token is a person of its own, in every window that has it.
    let entities = answer(
        &model,
        &body,
        |_, place| if place % 5 == 1 { 9.0 } else { 0.0 },
    );
    let words: Vec<&str> = entities
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["word"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["Ada", "lives", "in", "Paris", "."].repeat(8));
    let none = json!({"inputs": text, "parameters": {"stride": 4, "aggregation_strategy": "none"}});
    check_refused(
        &model,
        &none,
        ("bad_parameter", "parameters.stride"),
        &["none"],
    );
    let wide = json!({"inputs": text, "parameters": {"stride": 14}});
    check_refused(
        &model,
        &wide,
        ("bad_parameter", "parameters.stride"),
        &["14"],
    );
}

#[test]
fn targets_limit_what_fills_a_mask() {
    let model = model("fill-mask", 64);
    let body = json!({"inputs": "the [MASK]", "parameters": {"targets": ["dog", "Cat", "dog"], "top_k": 9}});
    let fills = answer(&model, &body, |_, place| place as f32 / 256.0);
    let words: Vec<&str> = fills
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["token_str"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["dog", "cat"]);
    assert_eq!(fills[0]["sequence"], "the dog");
}

#[test]
fn embeddings_are_for_models_that_pool() {
    let text = |text: &str| Text::Text(text.to_owned());
    let texts = OneOrMany::Many(vec![text("a"), text("a cat")]);
    let pooled = model("feature-extraction-cls", 64);
    let options = Options {
        truncation: Truncation::Cut(Side::Right),
        normalize: Some(true),
    };
    let prepared = feature_extraction::embeddings(&pooled, &texts, "input", options).unwrap();
    assert_eq!(prepared.tokens(), 7);
    let vectors = prepared
        .vectors(vec![vec![3.0, 4.0], vec![0.0, 2.0]])
        .unwrap();
    assert_eq!(vectors, [[0.6, 0.8], [0.0, 1.0]]);
    let empty = OneOrMany::Many(vec![text("a"), text("")]);
    let invalid =
        feature_extraction::embeddings(&pooled, &empty, "input", Options::STANDARD).unwrap_err();
    assert_eq!(invalid.field.as_deref(), Some("input[1]"));
    for name in ["feature-extraction-plain", "question-answering"] {
        let other = model(name, 64);
        let invalid =
            feature_extraction::embeddings(&other, &texts, "input", Options::STANDARD).unwrap_err();
        assert_eq!(invalid.code, InvalidCode::WrongTask);
    }
}

#[test]
fn spans_of_the_same_text_are_one_answer() {
    let model = model("question-answering", 64);
    let inputs = json!({"question": "who", "context": "The cat, the Cat."});
    let ask = |parameters: Value| {
        let body = json!({"inputs": inputs, "parameters": parameters});
        // [CLS] who [SEP] the cat , the cat . [SEP]: both cats start and end the answer.
        answer(&model, &body, |_, place| match place / 2 {
            4 => 6.0,
            7 => 5.0,
            _ => 0.0,
        })
    };
    let best = ask(json!({}));
    assert_eq!(
        (&best["answer"], &best["start"], &best["end"]),
        (&json!("cat"), &json!(4), &json!(7))
    );
    let alone = ask(json!({"max_seq_len": 64, "top_k": 1, "align_to_words": false}));
    assert!(best["score"].as_f64() > alone["score"].as_f64());
}

#[test]
fn outputs_that_are_not_numbers_are_an_error_of_their_own() {
    for name in FIXTURES {
        let model = model(name, 64);
        let inputs = match name {
            "question-answering" => json!({"question": "a", "context": "b"}),
            _ => json!("a [MASK]"),
        };
        let body = json!({"inputs": inputs});
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let prepared = prepare(&model, &body).unwrap();
            let outputs = outputs(
                &model,
                &prepared.rows,
                |_, place| if place == 1 { bad } else { 0.0 },
            );
            let error = prepared.answer(outputs).unwrap_err();
            assert_eq!(
                error.downcast_ref::<NonFinite>(),
                Some(&NonFinite { values: 1 }),
                "{name}"
            );
        }
        if name != "feature-extraction" && name != "feature-extraction-plain" && name != "fill-mask"
        {
            let prepared = prepare(&model, &body).unwrap();
            let outputs = vec![vec![0.0; 7]];
            assert_eq!(
                Failure::class_of(&prepared.answer(outputs).unwrap_err()),
                Class::Bug,
                "{name}"
            );
        }
    }
}
