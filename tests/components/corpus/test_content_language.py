"""Languages that a name leaves open, told by content; with magika's real model."""

import pyarrow as pa
import pytest

from components.corpus.content_language import refine_languages
from components.sources.languages import extension_of, language_of
from data_contracts.columns import CODE_FILES

OBJECTIVE_C = """#import "AppDelegate.h"

@interface AppDelegate ()
@property (strong, nonatomic) NSMutableArray *items;
@end

@implementation AppDelegate
- (BOOL)application:(UIApplication *)application didFinishLaunchingWithOptions:(NSDictionary *)options {
    self.items = [NSMutableArray array];
    [self.items addObject:@"name"];
    NSLog(@"%@", self.items);
    return YES;
}
@end
"""
MATLAB = """function y = squares(n)
% SQUARES of the first numbers.
y = zeros(1, n);
for i = 1:n
  y(i) = i.^2;
end
end
"""
MATHEMATICA = '(* ::Package:: *)\nBeginPackage["Squares`"]\nf[x_] := x^2;\nEndPackage[]\n'
VERILOG = """module counter(input clk, input rst, output reg [3:0] q);
always @(posedge clk) begin
  if (rst) q <= 4'b0; else q <= q + 1;
end
endmodule
"""
COQ = "Require Import Arith.\nLemma plus_zero : forall n : nat, n + 0 = n.\nProof. intros n. ring. Qed.\n"
PUPPET = "class apache::ssl {\n  package { 'mod_ssl': ensure => installed }\n}\n"
PROLOG = ":- use_module(library(lists)).\nparent(tom, bob).\nancestor(X, Y) :- parent(X, Z), ancestor(Z, Y).\n"
TRANSLATION = '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n<TS version="2.1" language="de">\n</TS>\n'
TYPESCRIPT = "export interface Shape { area(): number; }\nexport const unit: Shape = { area: (): number => 1 };\n"
CPP_HEADER = (
    "#pragma once\nnamespace a {\ntemplate <class T>\nclass Stack {\n public:\n  void push(const T& x);\n};\n}\n"
)
C_HEADER = "#ifndef A_H\n#include <stdio.h>\ntypedef struct node { int v; } node_t;\nint push(node_t *n);\n#endif\n"


def refined(files):
    rows = [
        dict.fromkeys(CODE_FILES.names, "")
        | {
            "content": content,
            "size_bytes": len(content),
            "path": path,
            "extension": extension_of(path),
            "language": language_of(path, content.encode()[:256]),
            "stars": None,
            "forks": None,
            "updated_at": None,
        }
        for path, content in files
    ]
    batch, counts = refine_languages(pa.RecordBatch.from_pylist(rows, CODE_FILES))
    assert batch.schema.equals(CODE_FILES)
    return batch.column("language").to_pylist(), counts


@pytest.mark.parametrize(
    ("path", "content", "language"),
    [
        ("App.m", OBJECTIVE_C, "objective-c"),
        ("squares.m", MATLAB, "matlab"),
        ("squares.m", MATHEMATICA, "mathematica"),
        ("counter.v", VERILOG, "verilog"),
        ("plus.v", COQ, "coq"),
        ("ssl.pp", PUPPET, "puppet"),
        ("family.pl", PROLOG, "prolog"),
        ("family.pro", PROLOG, "prolog"),
        ("app_de.ts", TRANSLATION, "xml"),
        ("shape.ts", TYPESCRIPT, "typescript"),
        ("stack.h", CPP_HEADER, "cpp"),
        ("stack.h", C_HEADER, "c"),
    ],
)
def test_the_content_tells_what_the_ending_leaves_open(path, content, language):
    assert refined([(path, content)]) == ([language], {"content_asked": 1, "content_answered": 1})


def test_what_a_name_settles_is_not_asked():
    files = [("a.py", VERILOG), ("Makefile", VERILOG), ("tool", "#!/bin/sh\n" + VERILOG), ("a.unknown", VERILOG)]

    assert refined(files) == (["python", "makefile", "shell", None], {"content_asked": 0, "content_answered": 0})


def test_an_answer_that_cannot_be_leaves_the_language_as_it_was():
    told, counts = refined([("a.h", MATLAB), ("a.m", C_HEADER), ("a.m", ""), ("empty", "")])

    assert told == ["c", None, None, None]
    assert counts == {"content_asked": 4, "content_answered": 0}


def test_hostile_content_raises_nothing():
    files = [("a.m", "\0" * 50_000), ("a.h", "\ufdd0" * 20_000), ("noname", "[" * 100_000), ("a.v", "\u202e" * 9)]
    told, counts = refined(files)

    assert len(told) == counts["content_asked"] == 4
