"""Reading a page: its tags, attributes, tables and the numbers they carry."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "mspace", "link", "input", "hr"}


class Page(HTMLParser):
    """Attributes: ``tags`` (list of (name, attributes)), ``texts`` by tag name, ``tables`` id -> rows of cells."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.tables, self.open = [], {}, {}, []
        self._table = self._cell = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"{tag} repeats an attribute"
        self.tags.append((tag, attributes))
        if tag == "table":
            self._table = self.tables.setdefault(attributes.get("id"), [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table is not None:
            self._cell = {"text": "", "value": attributes.get("data-v"), "below": []}
            self._table[-1].append(self._cell)
        elif tag == "small":
            self._cell["below"].append([attributes.get("data-v"), ""])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"
        if tag in ("td", "th"):
            self._cell = None
        elif tag == "table":
            self._table = None

    def handle_data(self, data):
        for tag in set(self.open[-1:]):
            self.texts.setdefault(tag, []).append(data)
        if self._cell is not None:
            if self.open[-1] == "small":
                self._cell["below"][-1][1] += data
            else:
                self._cell["text"] += data

    def of(self, tag):
        """Attributes of the tags of that name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def column(self, table, number):
        """Numbers of a column of a table, NaN where missing."""
        cells = [row[number] for row in self.tables[table][1:]]
        return [float(cell["value"] or "nan") for cell in cells]
