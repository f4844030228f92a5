"""The style of the page: two sets of colours, no font or file from elsewhere."""

STYLE = """
:root { color-scheme:light dark; --paper:#fbfaf7; --card:#fff; --ink:#1d2430; --soft:#667085;
  --line:#e4e1d9; --binary:#0f766e; --float:#c9cdd6; --mark:#b45309;
  --font:system-ui,"Segoe UI",sans-serif; }
@media (prefers-color-scheme: dark) { :root { --paper:#12161d; --card:#1a202a; --ink:#e6e9ef;
  --soft:#98a2b3; --line:#2b3340; --binary:#2dd4bf; --float:#4a5568; --mark:#f59e0b; } }

* { box-sizing:border-box }
body { margin:0; background:var(--paper); color:var(--ink); font:15px/1.5 var(--font) }
main { max-width:1040px; margin:0 auto; padding:40px 20px 64px }
h1 { font-size:28px; margin:0; letter-spacing:-.01em; overflow-wrap:anywhere }
h2 { font-size:17px; margin:0 0 2px }
h3 { font-size:14px; margin:0 0 10px; overflow-wrap:anywhere }
.lead { color:var(--soft); margin:4px 0 24px }
footer { color:var(--soft); font-size:12.5px; margin-top:22px }

.card, section { background:var(--card); border:1px solid var(--line); border-radius:12px }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(200px,1fr)); gap:14px }
.card { padding:16px 18px; overflow-wrap:anywhere }
.card b { display:block; font-size:27px; letter-spacing:-.02em; line-height:1.25;
  font-variant-numeric:tabular-nums }
.card span { color:var(--soft); font-size:13px }
.card i { font-style:normal; color:var(--soft); font-weight:400; font-size:19px; letter-spacing:0 }
section { margin-top:18px; padding:20px 22px }
section > p { margin:0 0 12px; color:var(--soft); font-size:13.5px; max-width:92ch }

svg { display:block; width:100%; height:auto; font-family:var(--font) }
svg text { fill:var(--ink); font-size:12px }
svg .soft { fill:var(--soft); font-size:11px }
svg.plot { min-width:560px }
svg .grid { stroke:var(--line) }
svg .binary { fill:var(--binary) }
svg .float { fill:var(--float) }
svg .tick { stroke:var(--ink); stroke-width:2 }
svg .ring { fill:var(--card); stroke:var(--mark); stroke-width:2 }
.key { display:flex; flex-wrap:wrap; gap:6px 20px; font-size:12.5px; color:var(--soft);
  margin-bottom:8px }
.key svg { width:16px; height:12px; display:inline-block; margin-right:6px; vertical-align:-1px }
.small { display:grid; grid-template-columns:repeat(auto-fill,minmax(150px,1fr)); gap:14px 18px }
.small figure { margin:0; min-width:0 }
.small figcaption { font-size:12px; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }

.worst { display:grid; gap:16px 14px;
  grid-template-columns:repeat(auto-fill,minmax(min(var(--cell),100%),1fr)) }
.worst > div { min-width:0 }
.worst p { font-size:12px; margin:5px 0 0; overflow-wrap:anywhere }
.worst i { display:block; font-style:normal; color:var(--soft) }
.worst p b { font-weight:600; color:var(--mark) }
.side { display:flex; gap:4px }
.side span { flex:1; min-width:0; font-size:11px; color:var(--soft); text-align:center }
.pic { display:block; background:var(--line) center/100% 100%; border-radius:5px;
  margin-bottom:2px; print-color-adjust:exact }
.pixels { image-rendering:pixelated }
.more { margin-top:16px }
.more summary { margin-bottom:10px; overflow-wrap:anywhere }

.wide { overflow-x:auto }
table { border-collapse:collapse; width:100%; font-size:13px; font-variant-numeric:tabular-nums }
th, td { padding:6px 10px; text-align:right; border-bottom:1px solid var(--line);
  white-space:nowrap }
th { color:var(--soft); font-weight:500 }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), td.left, th.left {
  text-align:left }
td:first-child { white-space:normal; overflow-wrap:anywhere; min-width:130px }
tr:last-child td { border-bottom:0 }
td.left { white-space:normal; min-width:190px }
tr.still td { color:var(--soft) }
summary { cursor:pointer; font-weight:600 }
pre { overflow:auto; font-size:12px; max-height:420px }
@media (max-width:480px) { main { padding:24px 12px 40px } section { padding:16px 14px }
  .cards { grid-template-columns:1fr 1fr; gap:10px } .card { padding:12px 14px }
  .card b { font-size:22px } }
"""
