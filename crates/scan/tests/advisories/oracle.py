import json, re, sys, zipfile


def version(text):
    try:
        return Version(text)
    except InvalidVersion:
        return None


def in_ranges(v, ranges):
    for r in ranges:
        if r["type"] == "GIT":
            continue
        events = []
        for event in r["events"]:
            for kind, text in event.items():
                events.append((Version("0.dev0") if text == "0" else Version(text), kind))
        order = {"fixed": 0, "introduced": 1, "last_affected": 2}
        vulnerable = False
        for at, kind in sorted(events, key=lambda e: (e[0], order[e[1]])):
            if kind == "introduced" and v >= at:
                vulnerable = True
            elif kind == "fixed" and v >= at:
                vulnerable = False
            elif kind == "last_affected" and v > at:
                vulnerable = False
        if vulnerable:
            return True
    return False


def affected(text, v, entry):
    listed = entry.get("versions") or []
    return text in listed or any(version(x) == v for x in listed) or in_ranges(v, entry.get("ranges") or [])


packages = {}
with zipfile.ZipFile(sys.argv[1]) as archive:
    for name in archive.namelist():
        advisory = json.loads(archive.read(name))
        if advisory.get("withdrawn"):
            continue
        for entry in advisory["affected"]:
            key = re.sub(r"[-_.]+", "-", entry["package"]["name"]).lower()
            packages.setdefault(key, []).append((advisory["id"], entry))

for name, entries in sorted(packages.items()):
    texts = set()
    for _, entry in entries:
        for r in entry.get("ranges") or []:
            if r["type"] != "GIT":
                texts.update(t for event in r["events"] for t in event.values())
        texts.update((entry.get("versions") or [])[-2:])
    # The edges of every range, and one version around them.
    for text in sorted(texts)[:12]:
        v = version(text)
        if v is None or text == "0":
            continue
        ids = sorted({i for i, entry in entries if affected(text, v, entry)})
        print(name, text, " ".join(ids), sep="\t")
