//! The formats of lines, one file for each producer.
//!
//! A new format is a file here, and a line in the list of [`formats!`] beside its `mod`: a type
//! that implements [`LineFormat`]. A new producer is a variant of `reading::Producer` as well.

mod analysis;
mod analysis_report;
mod command_line;
mod error_codes;
mod line_format;
mod neuron_cc;
mod neuronx_cc;
mod nxd_inference;
mod operator_list;
mod optimum_neuron;
mod python;
mod scripts;
mod tensorflow_neuron;
mod torch_neuron;
mod torch_neuronx;
mod wrapper;

use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::LogRecord;

use line_format::LineFormat;

pub(crate) use operator_list::is_list_line;

/// Declares [`Formats`] from a list of files and types. Not a list of trait objects: every record
/// would take a call for each format, of which nearly all decide by the first byte.
macro_rules! formats {
    ($($module:ident: $format:ident,)*) => {
        /// The state of every format.
        #[derive(Default)]
        pub(crate) struct Formats {
            $($module: $module::$format,)*
        }

        impl Formats {
            #[inline]
            pub(crate) fn observe(
                &mut self,
                record: &LogRecord<'_>,
                needles: Needles<'_>,
                findings: &mut Findings,
            ) {
                $(self.$module.observe(record, needles, findings);)*
            }

            #[inline]
            pub(crate) fn claim(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> bool {
                $(self.$module.claim(record, findings))||*
            }

            /// Reads a record; false when it is of no format.
            #[inline]
            pub(crate) fn read(
                &mut self,
                record: &LogRecord<'_>,
                needles: Needles<'_>,
                findings: &mut Findings,
            ) -> bool {
                $(self.$module.read(record, needles, findings))||*
                    || $(self.$module.read_rest(record, findings))||*
            }

            pub(crate) fn is_listing(&self) -> bool {
                $(self.$module.is_listing())||*
            }

            pub(crate) fn finish(self, findings: &mut Findings) {
                $(self.$module.finish(findings);)*
            }
        }
    };
}

// A record is offered to them in this order, and they finish in it.
formats! {
    neuron_cc: NeuronCc,
    neuronx_cc: NeuronxCc,
    analysis: AnalysisResults,
    torch_neuron: TorchNeuron,
    torch_neuronx: TorchNeuronx,
    tensorflow_neuron: TensorflowNeuron,
    optimum_neuron: OptimumNeuron,
    nxd_inference: NxdInference,
    scripts: Scripts,
    python: PythonTracebacks,
}
