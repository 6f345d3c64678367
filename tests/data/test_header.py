"""A header is told from a sample."""

import pytest

from xpdl.data.header import has_header, header_names

HEADERS = {
    "names above numbers": "a,b|1,2|3,4",
    "an unnamed index": ",a,b|0,1,2|1,3,4",
    "names above texts": "colour,size|red,big|blue,big|red,small",
    "elements": "Na,K|1.5,2|1,4",
    "only names": "a,b",
    "as pandas numbers columns": "0,1,2|5,5,5|6,1,7",
    "pixels": "label,0,1,2,3|7,0,255,3,4|1,1,1,1,9",
    "names that pandas made of a row": "5,0,0.1,0.2,0.3|3,1,0,0,9|7,0,0,0,2",
    "a number among names": "a,b,c,3|1,2,3,4|5,6,7,8",
    "a column of texts": "name,age|ann,3|bob,4",
}
SAMPLES = {
    "numbers": "1,2|3,4",
    "numbers and a text": "5.1,3.5,setosa|4.9,3.0,setosa",
    "categories": "p,x,s|e,x,y|p,b,s",
    "a typing error": "1,two,0|3,4,1",
    "missing numbers": "NA,NA|1,2",
    "counting": "0,1,2|3,4,5",
    "two numbers": "0,1|5,5",
}


@pytest.mark.parametrize("name", [*HEADERS, *SAMPLES])
def test_the_first_row_is_a_header_or_a_sample(name):
    rows = [row.split(",") for row in (HEADERS | SAMPLES)[name].split("|")]
    assert has_header(rows) == (name in HEADERS)


def test_rows_may_be_longer_than_the_header():
    assert header_names([["a", "b"], ["1", "2", "3"]]) == ["", "a", "b"]
    assert header_names([["a", "b"], ["1", "2", ""]]) == ["a", "b", ""]
    assert header_names([["a", "b"], ["1", "2", "3"], ["1", "2"]]) == ["a", "b"]
