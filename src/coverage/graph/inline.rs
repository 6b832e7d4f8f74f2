//! From classes and methods to one flat graph.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};

use crate::coverage::graph::archive::Archive;
use crate::coverage::graph::parser::parse;
use crate::coverage::graph::syntax::{Expression, ScriptClass, ScriptFunction, Statement};
use crate::coverage::graph::traced_graph::{
    ModuleInstance, Operand, OperatorCall, StoredTensor, TracedGraph, ValueId, ValueOrigin,
};

/// The deepest nesting of modules and the expressions in them, all together.
const DEPTH_MAX: usize = 500;

/// The most expressions that are followed; the largest graphs of the published logs have some ten
/// thousand.
const STEPS_MAX: usize = 2_000_000;

/// The most values in one list, those of the lists in it included.
const LIST_MAX: usize = 10_000;

/// The definitions of all files, by their dotted names.
#[derive(Debug, Default)]
struct ScriptProgram {
    classes: BTreeMap<String, ScriptClass>,
    functions: BTreeMap<String, ScriptFunction>,
    /// The first class of the outermost file that has `forward`.
    first: Option<String>,
}

impl ScriptProgram {
    fn parse(code: &BTreeMap<String, String>) -> Result<Self> {
        let mut program = Self::default();
        for (module, text) in code {
            let file = parse(text).with_context(|| format!("`{module}`"))?;
            for (name, class) in file.classes {
                program.classes.insert(format!("{module}.{name}"), class);
            }
            for (name, function) in file.functions {
                program
                    .functions
                    .insert(format!("{module}.{name}"), function);
            }
            let mut names = file.order.iter().map(|name| format!("{module}.{name}"));
            program.first = program.first.or_else(|| {
                names.find(|name| program.classes[name].methods.contains_key("forward"))
            });
        }
        Ok(program)
    }
}

/// Follows `forward` of the outermost module: the one that the archive stores, or the first class
/// that has it.
pub(super) fn inline(archive: Archive) -> Result<TracedGraph> {
    let program = ScriptProgram::parse(&archive.code)?;
    let stored = Some(archive.module.class.clone());
    let has_forward = |class: &String| {
        let class = program.classes.get(class);
        class.is_some_and(|class| class.methods.contains_key("forward"))
    };
    let class = stored.filter(has_forward).or_else(|| program.first.clone());
    let class = class.context("no class has a method `forward`")?;
    let forward = &program.classes[&class].methods["forward"];
    let mut inliner = Inliner {
        program: &program,
        shapes: archive.module.shapes,
        constants: archive.constants,
        stored: HashMap::new(),
        graph: TracedGraph {
            traced_shapes: archive.traced_shapes,
            ..TracedGraph::default()
        },
        depth: 0,
        steps: 0,
        uncertain: 0,
    };
    let path = String::new();
    let mut arguments = vec![Operand::Module(Rc::new(ModuleInstance { path, class }))];
    for name in forward.parameters.iter().skip(1) {
        let id = inliner.value(ValueOrigin::Input(name.clone()));
        inliner.graph.inputs.push(id);
        arguments.push(Operand::Value(id));
    }
    let result = inliner.call(forward, arguments)?;
    let mut graph = inliner.graph;
    result.collect(&mut graph.outputs);
    Ok(graph)
}

/// The values of the names of one function while it is followed.
type LocalNames<'p> = HashMap<&'p str, Operand>;

/// The graph while the code is followed.
struct Inliner<'p> {
    program: &'p ScriptProgram,
    shapes: BTreeMap<String, Vec<usize>>,
    constants: Vec<StoredTensor>,
    /// The stored tensors that are values already.
    stored: HashMap<String, ValueId>,
    graph: TracedGraph,
    depth: usize,
    steps: usize,
    /// The number of conditions and loops around what is followed.
    uncertain: usize,
}

impl<'p> Inliner<'p> {
    fn value(&mut self, origin: ValueOrigin) -> ValueId {
        self.graph.values.push(origin);
        self.graph.values.len() - 1
    }

    fn deeper<T>(&mut self, follow: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.steps += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX || self.steps > STEPS_MAX {
            bail!("its modules call one another without end");
        }
        let result = follow(self);
        self.depth -= 1;
        result
    }

    fn call(&mut self, function: &'p ScriptFunction, arguments: Vec<Operand>) -> Result<Operand> {
        self.deeper(|inliner| {
            let parameters = function.parameters.iter().map(String::as_str);
            let mut names: LocalNames<'p> = parameters.zip(arguments).collect();
            let result = inliner.run(&function.body, &mut names)?;
            Ok(result.unwrap_or(Operand::None))
        })
    }

    /// Follows statements; gives what is returned, if they return.
    fn run(
        &mut self,
        body: &'p [Statement],
        names: &mut LocalNames<'p>,
    ) -> Result<Option<Operand>> {
        for statement in body {
            match statement {
                Statement::Assign(targets, value) => {
                    let value = self.evaluate(value, names)?;
                    self.assign(targets, value, names);
                }
                Statement::Return(value) => return self.evaluate(value, names).map(Some),
                Statement::Evaluate(value) => drop(self.evaluate(value, names)?),
                Statement::If(condition, body, otherwise) => {
                    self.evaluate(condition, names)?;
                    // Nobody knows which branch runs: both are followed, and neither is certain.
                    let one = self.run_uncertain(body, names)?;
                    let other = self.run_uncertain(otherwise, names)?;
                    if one.is_some() && other.is_some() {
                        return Ok(Some(Operand::Unknown));
                    }
                }
                Statement::Loop(targets, over, body) => {
                    self.evaluate(over, names)?;
                    self.assign(targets, Operand::Unknown, names);
                    self.run_uncertain(body, names)?;
                }
            }
        }
        Ok(None)
    }

    /// Follows a branch or a loop once; what it assigns is unknown afterwards.
    fn run_uncertain(
        &mut self,
        body: &'p [Statement],
        names: &mut LocalNames<'p>,
    ) -> Result<Option<Operand>> {
        self.uncertain += 1;
        let result = self.deeper(|inliner| inliner.run(body, names));
        self.uncertain -= 1;
        for statement in body {
            if let Statement::Assign(targets, _) | Statement::Loop(targets, _, _) = statement {
                self.assign(targets, Operand::Unknown, names);
            }
        }
        result
    }

    fn assign(&mut self, targets: &'p [String], value: Operand, names: &mut LocalNames<'p>) {
        if let [name] = targets {
            names.insert(name, value);
            return;
        }
        for (index, name) in targets
            .iter()
            .enumerate()
            .filter(|(_, name)| !name.is_empty())
        {
            let part = self.part(&value, index);
            names.insert(name, part);
        }
    }

    fn part(&mut self, of: &Operand, index: usize) -> Operand {
        match of {
            Operand::List(items) => items.get(index).cloned().unwrap_or(Operand::Unknown),
            Operand::Value(id) => Operand::Value(self.value(ValueOrigin::Part(*id, index))),
            _ => Operand::Unknown,
        }
    }

    fn evaluate(&mut self, of: &'p Expression, names: &mut LocalNames<'p>) -> Result<Operand> {
        self.deeper(|inliner| {
            Ok(match of {
                Expression::Int(number) => Operand::Int(*number),
                Expression::Float(number) => Operand::Float(*number),
                Expression::Bool(is) => Operand::Bool(*is),
                Expression::Text(text) => Operand::Text(text.clone()),
                Expression::None => Operand::None,
                Expression::Name(name) => names
                    .get(name.as_str())
                    .cloned()
                    .unwrap_or(Operand::Unknown),
                Expression::Attribute(object, name) => inliner.attribute_of(object, name, names)?,
                Expression::Index(list, index) => {
                    let list = inliner.evaluate(list, names)?;
                    match inliner.evaluate(index, names)? {
                        Operand::Int(index) => match usize::try_from(index) {
                            Ok(index) => inliner.part(&list, index),
                            Err(_) => Operand::Unknown,
                        },
                        _ => Operand::Unknown,
                    }
                }
                Expression::Call(target, positional, named) => {
                    let positional = inliner.evaluate_all(positional, names)?;
                    let mut by_name = Vec::new();
                    for (name, value) in named {
                        by_name.push((name.clone(), inliner.evaluate(value, names)?));
                    }
                    inliner.call_of(target, positional, by_name, names)?
                }
                Expression::List(items) => {
                    let items = inliner.evaluate_all(items, names)?;
                    if items.iter().map(size).sum::<usize>() > LIST_MAX {
                        bail!("a list holds more than {LIST_MAX} values");
                    }
                    Operand::List(items.into())
                }
                Expression::Of(parts) => {
                    inliner.evaluate_all(parts, names)?;
                    Operand::Unknown
                }
            })
        })
    }

    fn evaluate_all(
        &mut self,
        all: &'p [Expression],
        names: &mut LocalNames<'p>,
    ) -> Result<Vec<Operand>> {
        all.iter().map(|one| self.evaluate(one, names)).collect()
    }

    fn attribute_of(
        &mut self,
        object: &'p Expression,
        name: &str,
        names: &mut LocalNames<'p>,
    ) -> Result<Operand> {
        if matches!(object, Expression::Name(object) if object == "CONSTANTS") {
            let index = name.trim_start_matches('c').parse().unwrap_or(usize::MAX);
            let unknown = || StoredTensor {
                path: format!("CONSTANTS.{name}"),
                ..StoredTensor::default()
            };
            let constant = self.constants.get(index).cloned().unwrap_or_else(unknown);
            return Ok(self.stored(constant));
        }
        let object = self.evaluate(object, names)?;
        Ok(self.attribute(&object, name))
    }

    fn attribute(&mut self, object: &Operand, name: &str) -> Operand {
        let Operand::Module(module) = object else {
            return Operand::Unknown;
        };
        let path = match module.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let class = self.program.classes.get(&module.class);
        let field = class.and_then(|class| class.fields.get(name));
        if let Some(class) = field.filter(|field| self.program.classes.contains_key(*field)) {
            let class = class.clone();
            return Operand::Module(Rc::new(ModuleInstance { path, class }));
        }
        // An attribute that is neither a module nor a tensor has no value that is followed.
        let shape = self.shapes.get(&path).cloned();
        if shape.is_none() && field.is_none_or(|field| field != "Tensor") {
            return Operand::Unknown;
        }
        self.stored(StoredTensor {
            path,
            shape,
            number: None,
        })
    }

    fn stored(&mut self, tensor: StoredTensor) -> Operand {
        if let Some(known) = self.stored.get(&tensor.path) {
            return Operand::Value(*known);
        }
        let path = tensor.path.clone();
        let id = self.value(ValueOrigin::Stored(tensor));
        self.stored.insert(path, id);
        Operand::Value(id)
    }

    fn call_of(
        &mut self,
        target: &'p Expression,
        positional: Vec<Operand>,
        named: Vec<(String, Operand)>,
        names: &mut LocalNames<'p>,
    ) -> Result<Operand> {
        let dotted = target.dotted().unwrap_or_default();
        match dotted.split_once('.') {
            Some(("torch", "device")) => return Ok(Operand::Unknown),
            Some(("torch", name)) if !name.contains('.') => {
                return Ok(self.emit(format!("aten::{name}"), positional, named));
            }
            Some(("ops", operator)) => {
                return Ok(self.emit(operator.replacen('.', "::", 1), positional, named));
            }
            Some(("__torch__", _)) => {
                return match self.program.functions.get(&dotted) {
                    Some(function) => self.call(function, positional),
                    // The constructor of a named tuple.
                    None => Ok(Operand::List(positional.into())),
                };
            }
            _ => {}
        }
        match target {
            Expression::Attribute(object, method) => {
                let Operand::Module(module) = self.evaluate(object, names)? else {
                    return Ok(Operand::Unknown);
                };
                let class = self.program.classes.get(&module.class);
                let method = class.and_then(|class| class.methods.get(method));
                match method {
                    Some(method) => {
                        let receiver = Operand::Module(module);
                        let arguments = [receiver].into_iter().chain(positional).collect();
                        self.call(method, arguments)
                    }
                    None => Ok(Operand::Unknown),
                }
            }
            Expression::Name(name) => Ok(self.builtin(name, positional)),
            _ => Ok(Operand::Unknown),
        }
    }

    fn builtin(&mut self, name: &str, mut arguments: Vec<Operand>) -> Operand {
        match (name, arguments.as_slice()) {
            ("getattr", [object, Operand::Text(name), ..]) => {
                let (object, name) = (object.clone(), name.clone());
                self.attribute(&object, &name)
            }
            ("annotate" | "unchecked_cast", [_, _]) => arguments.swap_remove(1),
            // `float("inf")` is a number.
            ("int" | "float" | "bool", [Operand::Text(_)]) => Operand::Unknown,
            // `int` is the operator `aten::Int`.
            ("int" | "float" | "bool", _) => {
                let (first, rest) = name.split_at(1);
                let operator = format!("aten::{}{rest}", first.to_uppercase());
                self.emit(operator, arguments, Vec::new())
            }
            _ => Operand::Unknown,
        }
    }

    fn emit(
        &mut self,
        operator: String,
        arguments: Vec<Operand>,
        named: Vec<(String, Operand)>,
    ) -> Operand {
        let result = self.value(ValueOrigin::Call(self.graph.calls.len()));
        self.graph.calls.push(OperatorCall {
            operator,
            arguments,
            named,
            result,
            certain: self.uncertain == 0,
        });
        Operand::Value(result)
    }
}

/// The number of values in an operand; lists that are too long are never made.
fn size(operand: &Operand) -> usize {
    match operand {
        Operand::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        _ => 1,
    }
}
