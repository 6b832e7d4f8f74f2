//! Forms of lines that the documentation of the formats names, one small log each.

use neuron_logs::reading::{ChipFamily, CompilationOutcome, CompilerStatus, NoticeKind, Producer};

use super::read;

const POST: &str = "Number of arithmetic operators (post-compilation) before = 10, compiled = 9, percent compiled = 90.0%";

#[test]
fn prefixes_of_containers_and_services_are_stripped() {
    for prefix in [
        "ip-10-0-0-1 compiler-container-Primary[1]: INFO:Neuron:",
        "2024-05-01T12:00:00.123456789Z INFO:Neuron:",
        "2024-05-01T12:00:00.123456789Z stdout F INFO:Neuron:",
        "2023-12-29 11:39:47,031 - Neuron - INFO - ",
        "(task, pid=12) trainer-1  | (Worker pid=7) INFO:Neuron:",
        "(ServeReplica:app:Model pid=7) INFO:Neuron:",
        "100%|#########| 4/4 [01:06<00:00, 16.52s/it]INFO:Neuron:",
        "...INFO:Neuron:",
        "\x1b[34m..\x1b[0m\x1b[34mINFO:Neuron:",
    ] {
        let reading = read(format!("{prefix}{POST}\n").as_bytes());
        assert_eq!(reading.coverage(), Some((9, 10)), "{prefix}");
        assert_eq!(reading.chip, Some(ChipFamily::Inf1), "{prefix}");
    }
    let comment = read(format!("# INFO:Neuron:{POST}\n").as_bytes());
    assert!(!comment.recognised);
}

#[test]
fn a_record_behind_other_text_is_read() {
    let reading = read(
        b"  50%|##   | 1/2 [00:00<00:00,  2.25it/s]2024-05-03 20:42:14.000627:  12  INFO ||NEURON_CC_WRAPPER||: Using a cached neff at /c/MODULE_1+2/model.neff\n\
          25%|#    | 1/4 [00:12<00:37]2026-07-31 04:58:40.000899:  6776  [INFO]: Using a cached neff at /c/MODULE_1+2/model.neff\n\
          Loading: 100%Compiler status PASS\n\
          ..Compiler status PASSINFO:Neuron:Done compilation for the priority HLO in 2.5 seconds\n\
          print(\"Compiler status PASS\")\n",
    );
    assert_eq!(reading.cache.hits, 2);
    assert_eq!(
        reading.statuses.sequence,
        [CompilerStatus::Pass, CompilerStatus::Pass]
    );
    assert_eq!(reading.statuses.dots, [0, 2]);
    assert_eq!(reading.timings.priority_hlo_s, Some(2.5));
}

#[test]
fn the_partitioner_says_what_stays_on_the_host() {
    let reading = read(
        b"Neuron: The following operations are currently supported:\n\
          Neuron: aten::linear\n\
          Neuron: The following operations are currently not supported:\n\
          Neuron: aten::sort, unsup.py(28): <stack_trace>\n\
          Neuron: 85.71% of arithmetic operations (6 of 7) are supported\n\
          Neuron: Num Partitions: 2\n\
          Neuron: Creating Partition #1 for device: Device.NEURON\n\
          Neuron: The following operators will be included in this partition:\n\
          Neuron: prim::GetAttr:9\n\
          Neuron: aten::linear:3\n\
          Neuron: Creating Partition #2 for device: Device.CPU\n\
          Neuron: The following operators will be included in this partition:\n\
          Neuron: aten::sort:1\n\
          .\nCompiler status PASS\n",
    );
    let partitioning = reading.partitioning.unwrap();
    assert_eq!(partitioning.announced, Some(2));
    let devices: Vec<&str> = partitioning
        .partitions
        .iter()
        .map(|it| it.device.as_str())
        .collect();
    assert_eq!(devices, ["NEURON", "CPU"]);
    assert_eq!(partitioning.partitions[0].operators[1].count, 3);
    let analysis = reading.analysis.unwrap();
    assert_eq!(analysis.unsupported[0].operator, "aten::sort");
    assert_eq!(analysis.arithmetic.unwrap().total, 7);
    assert_eq!(reading.outcome, CompilationOutcome::Pass);
}

#[test]
fn failures_of_every_age_have_a_cause() {
    let cases = [
        (
            "RuntimeError: neuronx-cc failed with -9\n",
            None,
            Some(-9),
            None,
        ),
        (
            "2023-06-15T12:11:12Z ERROR 85724 [neuronx-cc]: unsupported HLO opcode \"set-dimension-size\"\n",
            None,
            None,
            Some("set-dimension-size"),
        ),
        (
            "Unsupported CustomCall target: ResizeBilinear\n",
            None,
            None,
            Some("ResizeBilinear"),
        ),
        (
            "[ERROR] [NCC_EVRF001] Operator topk is not supported. Locate the operator\n",
            Some("NCC_EVRF001"),
            None,
            Some("topk"),
        ),
        (
            "2023-01-01T00:00:00Z [NLA001] Unhandled exception with message: x\n",
            Some("NLA001"),
            None,
            None,
        ),
        (
            "usage: neuronx-cc compile [-h]\nneuronx-cc compile: error: argument --x\n",
            None,
            None,
            None,
        ),
        ("usage: neuronx-cc compile [-h]\n", None, None, None),
        (
            "12/29/2023 11:39:49 AM ERROR 12 [neuron-cc]: The requested number of neuroncore-pipeline-cores (4) may not be suitable\n",
            None,
            None,
            None,
        ),
        (
            "An error occured when trying to trace encoder with the error message: no such shape.\n",
            None,
            None,
            None,
        ),
        (
            "ValueError: Model support percentage of 40.00% below threshold of 50.00%\n",
            None,
            None,
            None,
        ),
    ];
    for (log, code, exit, unsupported) in cases {
        let reading = read(log.as_bytes());
        assert!(reading.recognised, "{log}");
        assert_eq!(reading.outcome, CompilationOutcome::Fail, "{log}");
        assert_eq!(reading.errors.len(), 1, "{log}");
        let error = &reading.errors[0];
        assert_eq!(error.code.as_deref(), code, "{log}");
        assert_eq!(error.exit_status, exit, "{log}");
        assert_eq!(error.unsupported.as_deref(), unsupported, "{log}");
    }
}

#[test]
fn a_report_with_xla_lists_is_not_a_log_of_errors() {
    let reading = read(
        br#"{
    "torch_neuronx_version": "1.13.0.1.6.1",
    "neuronx_cc_version": "2.5.0.28+1be23f232",
    "support_percentage": "60.00%",
    "supported_operators": {
        "aten": {"aten::add": 2},
        "xla": ["f32[] multiply(f32[], f32[])"]
    },
    "unsupported_operators": {
        "aten": [{"kind": "aten::mul", "failureAt": "neuronx-cc", "call": "a.py 24"}],
        "xla": [{"hlo": "x", "error": "[ERROR] [NCC_EVRF001] Operator x is not supported."}]
    }
}
"#,
    );
    assert_eq!(reading.outcome, CompilationOutcome::AnalyzeOnly);
    assert!(reading.errors.is_empty());
    assert!(reading.complete);
    let analysis = reading.analysis.unwrap();
    assert_eq!(analysis.supported[0].count, Some(2));
    assert_eq!(analysis.unsupported.len(), 1);
    assert_eq!(analysis.supported_hlo, ["f32[] multiply(f32[], f32[])"]);
    assert_eq!(analysis.unsupported_hlo, ["x"]);
    assert_eq!(reading.producers, [Producer::NeuronParallelCompile]);
}

#[test]
fn two_analyses_stay_two() {
    let one = "INFO:Neuron:The following operations are currently supported in torch-neuron for this model:\n\
               INFO:Neuron:aten::add\n\
               INFO:Neuron:50.00% of arithmetic operations (1 of 2) are supported\n";
    let reading = read(format!("{one}{one}").as_bytes());
    assert_eq!(reading.more_analyses.len(), 1);
    assert_eq!(reading.analysis.unwrap().supported.len(), 1);
    assert_eq!(reading.more_analyses[0].supported.len(), 1);
}

#[test]
fn what_a_person_left_out_contradicts_nothing() {
    let reading = read(
        format!(
            "INFO:Neuron:{POST}\n\
             INFO:Neuron:Compiled these operators (and operator counts) to Neuron:\n\
             INFO:Neuron: => aten::linear: 2\n\
             ...\n\
             INFO:Neuron:Not compiled operators (and operator counts) to Neuron:\n\
             INFO:Neuron: => aten::embedding: 1 [not supported]\n"
        )
        .as_bytes(),
    );
    assert!(reading.contradictions.is_empty());
    assert!(!reading.complete);
    assert_eq!(reading.skipped.elisions, 1);
    assert_eq!(reading.outcome, CompilationOutcome::Pass);
}

#[test]
fn a_trace_that_stays_on_the_cpu_is_a_failure() {
    let reading = read(
        b"INFO:Neuron:Number of arithmetic operators (pre-compilation) before = 3, fused = 0, percent fused = 0.0%\n\
          WARNING:Neuron:No operator is placed on Neuron runtime; returning a CPU trace\n",
    );
    assert_eq!(reading.outcome, CompilationOutcome::Fail);
    assert_eq!(reading.notices[0].kind, NoticeKind::CpuTrace);
    assert_eq!(reading.coverage(), None);
}

#[test]
fn a_handled_exception_is_no_failure() {
    let traceback =
        "Traceback (most recent call last):\n  File \"a.py\", line 1\nOSError: no access\n";
    let handled = read(format!("{traceback}.\nCompiler status PASS\n").as_bytes());
    assert_eq!(
        (handled.outcome, handled.errors.len()),
        (CompilationOutcome::Pass, 0)
    );
}

#[test]
fn an_exception_behind_a_pass_counts_when_it_comes_from_the_sdk() {
    let after_pass = |frame: &str| {
        read(
            format!(
                ".\nCompiler status PASS\nTraceback (most recent call last):\n  File \"{frame}\", line 1, in f\n    f()\nOSError: no access\n"
            )
            .as_bytes(),
        )
    };
    let own = after_pass("/home/me/aws_neuronx_venv/score.py");
    assert_eq!(
        (own.outcome, own.errors.len()),
        (CompilationOutcome::Pass, 0)
    );
    let sdk = after_pass("/opt/venv/lib/python3.10/site-packages/neuronx_distributed/trace.py");
    assert_eq!(
        (sdk.outcome, sdk.errors.len()),
        (CompilationOutcome::Fail, 1)
    );
    let never_passed = read(b"Completed run_backend_driver.\nTraceback (most recent call last):\n  File \"a.py\", line 1\nOSError: no access\n");
    assert_eq!(never_passed.errors.len(), 1);
}

#[test]
fn an_error_keeps_its_level_and_loses_what_a_container_put_before_it() {
    for prefix in [
        "",
        "trainer-1  | ",
        "(Worker pid=7) ",
        "2024-05-01T12:00:00.1234567Z ",
    ] {
        let start = "INFO:Neuron:Number of arithmetic operators (pre-compilation) before = 3, fused = 3, percent fused = 100.0%";
        let log = format!("{prefix}{start}\n{prefix}ERROR:Neuron:list index out of range\n");
        let reading = read(log.as_bytes());
        assert_eq!(
            reading.errors[0].line,
            "ERROR:Neuron:list index out of range"
        );
    }
}

#[test]
fn a_block_of_an_error_is_one_error_when_others_write_between_its_lines() {
    let reading = read(
        b"ERROR 227874 [neuronx-cc]: ***************************************************************\n\
          10%|#    | 1/10 [00:00<00:01,  9.00it/s]\n\
          ERROR 227874 [neuronx-cc]:  An Internal Compiler Error has occurred\n\
          20%|##   | 2/10 [00:00<00:01,  9.00it/s]\n\
          ERROR 227874 [neuronx-cc]: Error message:  no such tile\n\
          ERROR 227874 [neuronx-cc]: Error class:    KeyError\n",
    );
    assert_eq!(reading.errors.len(), 1);
    assert_eq!(reading.errors[0].class.as_deref(), Some("KeyError"));
}
