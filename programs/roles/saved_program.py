"""Save programs as readable JSON, and check a file against the program that loads it.

Pickle is never used. A file holds how the program was tuned and, for every predictor of a role, its instruction, its
demonstrations as objects, and the fields of its question with a fingerprint. Loading compares field by field; DSPy
alone would silently match a wrong file's fields by position. A file never holds a model or a key.
The JSON that DSPy's own `save` writes is read, too (dspy_state.py), and checked in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import dspy
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from programs.roles.dspy_state import DSPY, misfit, place_in, predictors_in, questions_of
from programs.text_files import read_json
from programs.user_files import LARGEST_PROGRAM

FORMAT = "llm-economist program 2"
FORMATS = "llm-economist program "
OR_DSPYS = ", nor the state that a DSPy module's save('x.json') writes"

Fields = list[dict[str, Any]]


def save(
    program: dspy.Module,
    path: str,
    *,
    role: str,
    strategy: str,
    adapter: str | None = None,
    model: str | None = None,
    layout: str | None = None,
    tuned: Mapping[str, Any] | None = None,
) -> None:
    """Write `program` to `path` as JSON.

    `adapter`, `model`, `layout`: what it was tuned with; `tuned`: how, and its scores.
    """
    record = {
        "format": FORMAT,
        "role": role,
        "strategy": strategy,
        "adapter": adapter,
        "model": model,
        "layout": layout,
        "tuned": dict(tuned) if tuned is not None else None,
        "predictors": {name: _saved(predictor) for name, predictor in program.named_predictors()},
    }
    text = json.dumps(record, indent=1) + "\n"
    Path(path).write_text(text, encoding="ascii")


def _saved(predictor: dspy.Predict) -> dict[str, Any]:
    fields = fields_of(predictor.signature)
    return {
        "fingerprint": fingerprint(fields),
        "fields": fields,
        "instruction": predictor.signature.instructions,
        # DSPy gives every predictor of a game whole economies as labelled examples; no prompt shows those.
        "demos": [shown for demo in predictor.demos if (shown := demo_of(predictor.signature, demo))],
    }


def demo_of(signature: type[dspy.Signature], demo: Mapping[str, Any]) -> dict[str, Any]:
    """A demonstration as plain data: only the signature's fields, in order."""
    return {name: to_jsonable_python(demo[name]) for name in signature.fields if name in demo}


def fields_of(signature: type[dspy.Signature]) -> Fields:
    """Every field of a question in order: its name, whether it is an input or an output, and its type.

    Types are JSON schemas with their bounds, except for the length of lists, because the number of brackets may change.
    """
    return [
        {"name": name, "kind": kind, "type": _type_of(field)}
        for kind, fields in (("input", signature.input_fields), ("output", signature.output_fields))
        for name, field in fields.items()
    ]


def _type_of(field: Any) -> dict[str, Any]:
    return dict(sorted(_plain(_checker(field).json_schema()).items()))


def _checker(field: Any) -> TypeAdapter[Any]:
    """The validator of a field, including its constraints."""
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return TypeAdapter(kind)


def _plain(schema: Any) -> Any:
    """A schema without titles, and without the length of lists of fixed length."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    left_out = {"title", "description"}
    if schema.get("minItems") == schema.get("maxItems"):
        left_out |= {"minItems", "maxItems"}
    return {key: _plain(value) for key, value in schema.items() if key not in left_out}


def fingerprint(fields: Fields) -> str:
    """16 hexadecimal digits that depend on the names, kinds, types and order of the fields."""
    return blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=8).hexdigest()


def load(
    program: dspy.Module,
    path: str,
    *,
    role: str,
    strategy: str,
    adapter: str | None = None,
    model: str | None = None,
    layout: str | None = None,
) -> list[str]:
    """Put the state saved at `path` into `program`; cautions where it was tuned with another adapter, model or layout.

    ValueError says in one line what does not fit, and leaves the program unchanged.
    """
    record, shown = read(path), f"--program {role}={path}"
    if record["format"] == DSPY:
        predictors, loaded = _placed(record["predictors"], program, role, shown)
    else:
        for key, wanted in (("role", role), ("strategy", strategy)):
            if record.get(key) != wanted:
                raise ValueError(f"{shown} was saved for {key} {record.get(key)!r}, not {wanted!r}")
        predictors = _named_alike(record.get("predictors"), program)
        loaded = _checked(record.get("predictors"), predictors, shown)
    for name, (instruction, demos) in loaded.items():
        predictors[name].signature = predictors[name].signature.with_instructions(instruction)
        predictors[name].demos = demos
    now_used = {"adapter": adapter, "model": model, "layout": layout}
    given = [(what, record.get(what), now) for what, now in now_used.items()]
    return [
        f"{shown} was tuned with {what} {tuned}, and runs with {now}: its scores may not carry over"
        for what, tuned, now in given
        if tuned is not None and now is not None and tuned != now
    ]


Loaded = dict[str, tuple[str, list[dspy.Example]]]


def _placed(
    saved: Mapping[str, Any], program: dspy.Module, role: str, shown: str
) -> tuple[Mapping[str, dspy.Predict], Loaded]:
    """Where the predictors of DSPy's own file belong, and their instructions and demonstrations."""
    places = place_in(saved, program, role)
    if places is None:
        raise ValueError(f"{shown}, which DSPy wrote, {misfit(saved, program, role)}")
    loaded: Loaded = {}
    for name, predictor in places.items():
        state, signature = saved[name], predictor.signature
        # Examples keep what no prompt shows, such as how they were made.
        demos = [demo_of(signature, one) if isinstance(one, dict) else one for one in _demos(state, name, shown)]
        loaded[name] = state["instruction"], _examples(signature, [one for one in demos if one], f"{shown}, {name}")
    return places, loaded


def _named_alike(saved: Any, program: dspy.Module) -> dict[str, dspy.Predict]:
    """The predictors of the one question of `program` that a file holds alone, else those of the whole program."""
    for place in (program, *questions_of(program)):
        predictors = dict(place.named_predictors())
        if isinstance(saved, dict) and set(saved) == set(predictors) and _same_fields(saved, predictors):
            return predictors
    return dict(program.named_predictors())


def _same_fields(saved: Mapping[str, Any], predictors: Mapping[str, dspy.Predict]) -> bool:
    return all(
        isinstance(saved[name], dict) and saved[name].get("fields") == fields_of(one.signature)
        for name, one in predictors.items()
    )


def _demos(state: Mapping[str, Any], name: str, shown: str) -> list[Any]:
    """The demonstrations of a predictor. ValueError if it has none to read, or no instruction."""
    demos = state.get("demos")
    if not isinstance(state.get("instruction"), str) or not isinstance(demos, list):
        raise ValueError(f"{shown} has no usable instruction or demos for {name}")
    return demos


def _examples(signature: type[dspy.Signature], demos: list[Any], shown: str) -> list[dspy.Example]:
    return [_demo(signature, demo, f"{shown}, demo {i}") for i, demo in enumerate(demos, 1)]


def _checked(saved: Any, predictors: Mapping[str, dspy.Predict], shown: str) -> Loaded:
    """The instruction and demonstrations of each predictor. ValueError for the first one that does not fit."""
    if not isinstance(saved, dict) or not all(isinstance(state, dict) for state in saved.values()):
        raise ValueError(f"{shown} has no usable predictors")
    if set(saved) != set(predictors):
        here, there = ", ".join(predictors), ", ".join(saved) or "none"
        raise ValueError(f"{shown} has predictors {there}; the program has {here}")
    loaded: Loaded = {}
    for name, predictor in predictors.items():
        state, signature = saved[name], predictor.signature
        differs = next(_differences(state.get("fields"), fields_of(signature)), None)
        if differs is not None:
            raise ValueError(f"{shown} does not fit {name}: {differs}")
        if state.get("fingerprint") != fingerprint(fields_of(signature)):
            raise ValueError(f"{shown} does not fit {name}: its fingerprint is not that of its fields; was it edited?")
        loaded[name] = state["instruction"], _examples(signature, _demos(state, name, shown), f"{shown}, {name}")
    return loaded


def _differences(there: Any, here: Fields) -> Iterator[str]:
    """The differences between the fields in a file and those of the program."""
    if not isinstance(there, list) or not all(isinstance(field, dict) for field in there):
        yield "the file does not say its fields"
        return
    old, new = ({str(field.get("name")): field for field in fields} for fields in (there, here))
    yield from (f"the question has no field {name!r} any more" for name in old if name not in new)
    yield from (f"the file lacks the field {name!r}" for name in new if name not in old)
    for name, field in new.items():
        for what in ("kind", "type"):
            if old[name].get(what) != field[what]:
                yield f"{what} of {name!r} is {_said(field[what])}, in the file {_said(old[name].get(what))}"
    if list(old) != list(new):
        yield f"the order of the fields is {', '.join(new)}, in the file {', '.join(old)}"


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _demo(signature: type[dspy.Signature], demo: Any, shown: str) -> dspy.Example:
    """A demonstration, checked: every value fits its field. Fields may be missing, because labels have no reasoning."""
    if not isinstance(demo, dict) or not demo:
        raise ValueError(f"{shown}: expected an object of fields and values")
    values = {}
    for name, value in demo.items():
        if name not in signature.fields:
            raise ValueError(f"{shown}: the question has no field {name!r}")
        try:
            values[name] = _checker(signature.fields[name]).validate_python(value)
        except ValidationError as error:
            said = json.dumps(value)[:80]
            raise ValueError(f"{shown}: {name} {said} does not fit: {error.errors()[0]['msg']}") from error
    return dspy.Example(values)


def state_hash(state: Any) -> str:
    """A hash of a saved state, whatever the path of its file: 16 hexadecimal digits."""
    return blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=8).hexdigest()


def read(path: str) -> dict[str, Any]:
    """The record in a program file; of one that DSPy wrote the `format` (`DSPY`) and the `predictors`.

    ValueError in one line if there is none.
    """
    try:
        record = read_json(path, most=LARGEST_PROGRAM)
    except FileNotFoundError as error:
        raise ValueError(f"program file {path} does not exist") from error
    except IsADirectoryError as error:
        raise ValueError(f"program file {path} is a folder; expected a JSON file") from error
    except OSError as error:
        raise ValueError(f"program file {path} cannot be read ({error.strerror}); expected a JSON file") from error
    except ValueError as error:
        raise ValueError(f"program file {path} is not readable JSON ({error}); pickles are never loaded") from error
    found = record.get("format") if isinstance(record, dict) else None
    dspys = predictors_in(record) if found is None else None
    if dspys is not None:
        return {"format": DSPY, "predictors": dspys}
    if found != FORMAT:
        older = isinstance(found, str) and found.startswith(FORMATS)
        hint = f", but of {found!r}: tune it again with `llm-economist optimize`" if older else ""
        raise ValueError(f"program file {path} is not of format {FORMAT!r}{hint or OR_DSPYS}")
    assert isinstance(record, dict)
    return record
