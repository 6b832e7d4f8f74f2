//! Outputs equal those of transformers: tiny models of every task, and all-MiniLM-L6-v2.

use std::path::Path;

use neuronc::bucket::{Bucket, Row};
use neuronc::files;
use neuronc::profile::Attention;
use serde_json::Value;

use crate::support::{FP32, Made, Subject, bucket, max_difference, perform, repository};

/// Positions that the tiny models have.
const POSITIONS: usize = 64;

/// What transformers answers for one row of a batch.
struct Answer {
    rows: Vec<Row>,
    /// Which of them.
    row: usize,
    /// Tokens of the longest row.
    sequence: usize,
    /// Without what stands at padding.
    values: Vec<f32>,
}

impl Answer {
    /// The answer to this row in `output`, the whole output of a bucket of `batch` rows.
    fn check(&self, output: &[f32], batch: usize, bound: f32, what: &str) {
        let per_row = output.len() / batch;
        let found = &output[self.row * per_row..][..self.values.len()];
        let difference = max_difference(found, &self.values);
        assert!(
            difference < bound,
            "{what}: row {} of {} differs by {difference}",
            self.row,
            self.rows.len()
        );
    }

    fn rows(&self) -> Vec<&Row> {
        self.rows.iter().collect()
    }
}

#[test]
fn tiny_models_answer_as_in_transformers() {
    let folder = repository().join("tests/fixtures/models");
    let names = files::list(&folder).unwrap();
    assert!(names.len() >= 17, "{names:?}");
    for name in &names {
        let subject = Subject::from_folder(&folder.join(name));
        let answers = answers(&folder.join(name).join("expected.json"));
        for attention in [Attention::Fused, Attention::Explicit] {
            let what = format!("{name}, {attention:?} attention");
            for answer in &answers {
                let exact = bucket(answer.rows.len(), answer.sequence);
                let output = subject
                    .forward(attention, exact, &answer.rows())
                    .to_f32()
                    .unwrap();
                answer.check(&output, exact.batch, 1e-5, &what);
            }
            compare_graphs(&subject, attention, &answers, &what);
        }
    }
}

/// Through a graph of just the size of each batch, and through one that leaves room for padding.
fn compare_graphs(subject: &Subject, attention: Attention, answers: &[Answer], what: &str) {
    let exact = answers
        .iter()
        .map(|answer| bucket(answer.rows.len(), answer.sequence));
    let roomy = answers
        .iter()
        .map(|answer| bucket(answer.rows.len() + 1, POSITIONS));
    let mut buckets: Vec<Bucket> = exact.chain(roomy).collect();
    buckets.sort_unstable();
    buckets.dedup();
    let folder = tempfile::tempdir().unwrap();
    let mut job = subject.job(folder.path(), &buckets, FP32);
    job.attention = attention;
    perform(&job).unwrap();
    let made = Made::open(&job);
    for (index, Bucket { batch, sequence }) in buckets.iter().enumerate() {
        let fitting =
            |answer: &&Answer| answer.rows.len() <= *batch && answer.sequence <= *sequence;
        for answer in answers.iter().filter(fitting) {
            let output = made.run(index, &answer.rows()).to_f32().unwrap();
            answer.check(
                &output,
                *batch,
                1e-5,
                &format!("{what}, bucket {batch}x{sequence}"),
            );
        }
    }
}

#[test]
fn minilm_answers_as_in_transformers() {
    let folder = repository().join(".cache/demo-model/all-MiniLM-L6-v2");
    if !folder.is_dir() {
        println!(
            "skipped: {} is missing; scripts/demo-model.sh makes it",
            folder.display()
        );
        return;
    }
    let subject = Subject::from_folder(&folder);
    let answers = answers(&repository().join("tests/fixtures/minilm-expected.json"));
    let made_in = tempfile::tempdir().unwrap();
    let job = subject.job(made_in.path(), &[bucket(2, 64), bucket(1, 256)], FP32);
    perform(&job).unwrap();
    let made = Made::open(&job);
    for answer in &answers {
        let index = usize::from(answer.sequence > 64);
        let output = made.run(index, &answer.rows()).to_f32().unwrap();
        answer.check(
            &output,
            job.graphs[index].bucket.batch,
            1e-4,
            "all-MiniLM-L6-v2",
        );
    }
}

/// The cases of a file of expectations, row by row; a row with several masks is asked for each.
fn answers(path: &Path) -> Vec<Answer> {
    let expected: Value = files::load_json(path).unwrap();
    let mut answers = Vec::new();
    for case in expected["cases"].as_array().unwrap() {
        let (ids, mask) = (
            integers(&case["input_ids"]),
            integers(&case["attention_mask"]),
        );
        let types = integers(&case["token_type_ids"]);
        let rows: Vec<Row> = (0..ids.len())
            .map(|row| {
                let tokens = mask[row].iter().filter(|mask| **mask == 1).count();
                let (ids, type_ids) = (ids[row][..tokens].to_vec(), types[row][..tokens].to_vec());
                Row {
                    ids,
                    type_ids,
                    position: None,
                }
            })
            .collect();
        let shape: Vec<usize> = serde_json::from_value(case["output"]["shape"].clone()).unwrap();
        let values: Vec<f32> = serde_json::from_value(case["output"]["values"].clone()).unwrap();
        let masks = case.get("masks").map(integers);
        for (index, values) in values.chunks_exact(values.len() / shape[0]).enumerate() {
            let mut answer = Answer {
                rows: rows.clone(),
                row: index,
                sequence: ids[0].len(),
                values: values.to_vec(),
            };
            match &masks {
                Some(masks) => {
                    answer.row = masks[index][0] as usize;
                    answer.rows[answer.row].position = Some(masks[index][1] as usize);
                }
                None if shape.len() == 3 => {
                    answer.values.truncate(rows[index].ids.len() * shape[2])
                }
                None => {}
            }
            answers.push(answer);
        }
    }
    assert!(!answers.is_empty());
    answers
}

fn integers(value: &Value) -> Vec<Vec<i64>> {
    serde_json::from_value(value.clone()).unwrap()
}
