//! Fill-mask of a model whose mask token is `<mask>` and whose vocabulary is as large as real ones,
//! by both tracers that leave the width of the output to the traced model.

use serde_json::{Value, json};

use super::server::ChipServer;
use super::transformers::python;
use super::{Bench, ONE};

const MODEL: &str = "roberta-fill-mask";

/// That of BERT. An eighth of it fits a reference output, which holds samples of larger ones.
const VOCABULARY: u64 = 30_522;

/// The mask token is the last one of the vocabulary.
const MASK_ID: u64 = VOCABULARY - 1;

/// Makes the TorchScript of the model in the current folder, as transformers' documentation says.
const EXPORT: &str = r#"
import torch, transformers
model = transformers.AutoModelForMaskedLM.from_pretrained("MODEL", torchscript=True).eval()
ids = torch.arange(16).reshape(1, 16) + 5
torch.jit.trace(model, (ids, torch.ones_like(ids)), strict=False).save("MODEL/model.pt")
"#;

/// A bench for cpu whose model is a tiny RoBERTa with a large vocabulary.
fn with_roberta() -> Option<Bench> {
    let mut bench = Bench::new("inf2")?;
    let make = format!(
        "import make_models as m; m.VOCABULARY = m.ROBERTA['vocab_size'] = {VOCABULARY}; \
         m.MODELS = {{'{MODEL}': m.MODELS['{MODEL}']}}; m.main('.')"
    );
    python(&bench, &["-c", &make]);
    bench.chip = "cpu".to_owned();
    bench.set_model(bench.place.path(MODEL));
    Some(bench)
}

/// The manifest says what the graphs return and which token is the mask, and references are masked.
fn check_sealed(bench: &Bench) {
    let manifest = bench.read_json("b/manifest.json");
    assert_eq!(manifest["plan"]["output"]["width"], Value::Null);
    let output = json!({"per": "sample", "width": VOCABULARY, "dtype": "f32"});
    assert_eq!(manifest["output"], output);
    assert_eq!(manifest["mask_token"], "<mask>");
    for row in bench.read_json("b/reference.json").as_array().unwrap() {
        let position = row["position"].as_u64().unwrap() as usize;
        assert_eq!(row["ids"][position], MASK_ID, "{row}");
    }
    bench.place.run(&["verify", "b"]).succeeds();
}

/// A simulated device answers with a score for each token of the vocabulary.
fn check_simulated(bench: &Bench) {
    let simulated = [
        "--runtime",
        "simulated",
        "--timings",
        "inf2/bert-base-uncased",
    ];
    let server = ChipServer::start(bench, "simulated.log", &simulated);
    let tensor = |name: &str, data: [u64; 3]| json!({"name": name, "datatype": "INT64", "shape": [1, 3], "data": data});
    let ids = json!({"inputs": [
        tensor("input_ids", [7, MASK_ID, 9]),
        tensor("attention_mask", [1, 1, 1]),
    ]});
    let manifest = bench.read_json("b/manifest.json");
    let path = format!(
        "/v2/models/{}/infer",
        manifest["plan"]["name"].as_str().unwrap()
    );
    let (status, answer) = server.ask("POST", &path, &ids.to_string());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["shape"], json!([1, VOCABULARY]));
    check_filled(&server);
}

/// A token far up in the vocabulary has a score, and the mask token of another family is refused.
fn check_filled(server: &ChipServer) {
    let body = json!({"inputs": "w7 <mask> w9", "parameters": {"targets": ["w30000"]}});
    let (status, answer) = server.ask("POST", "/invocations", &body.to_string());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer[0]["token"], 30_000, "{answer}");
    let body = json!({"inputs": "w7 [MASK] w9"});
    let (status, answer) = server.ask("POST", "/invocations", &body.to_string());
    assert_eq!(status, 422, "{answer}");
    assert!(
        answer.to_string().contains("no `<mask>` to fill"),
        "{answer}"
    );
}

#[test]
fn a_model_whose_mask_is_another_word_is_traced_verified_and_served() {
    let Some(bench) = with_roberta() else {
        return;
    };
    bench.trace(&ONE).succeeds();
    check_sealed(&bench);
    let server = ChipServer::start(&bench, "serve.log", &[]);
    assert!(
        server.first_lines.contains("a <mask> text"),
        "{}",
        server.first_lines
    );
    check_filled(&server);
    let (_, metadata) = server.ask("GET", &format!("/v2/models/{MODEL}"), "");
    assert_eq!(metadata["parameters"], json!({"mask_token": "<mask>"}));
    assert_eq!(metadata["outputs"][1]["shape"], json!([-1, VOCABULARY]));
    drop(server);
    check_simulated(&bench);
}

#[test]
fn a_torchscript_file_of_it_has_the_width_and_the_mask_of_the_model() {
    let Some(mut bench) = with_roberta() else {
        return;
    };
    python(&bench, &["-c", &EXPORT.replace("MODEL", MODEL)]);
    bench.set_model(bench.place.path(MODEL).join("model.pt"));
    bench.trace(&ONE).succeeds();
    check_sealed(&bench);
    check_simulated(&bench);
}
