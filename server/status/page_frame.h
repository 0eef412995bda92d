// What of the status page is always the same: its style, and the script that refreshes it.
#pragma once

namespace mlpserve {

inline constexpr const char* kPageHead = R"HTML(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>mlpserve</title>
<link rel="icon" href="data:,">
<style>
:root { --page: #f5f6f8; --card: #ffffff; --line: #e3e7ec; --text: #1d2733; --faint: #5f6c7b;
  --accent: #2563b8; --track: #e6ebf2; --good: #1a7f4b; --good-soft: #e0f3e8; --busy: #8a5a00;
  --busy-soft: #fdf0d3; --bad: #b3261e; --bad-soft: #fbe3e1; }
@media (prefers-color-scheme: dark) { :root { --page: #0f141a; --card: #171e26; --line: #28323d;
  --text: #e6ebf1; --faint: #97a4b3; --accent: #6ea8f0; --track: #26303b; --good: #5fd197;
  --good-soft: #14352a; --busy: #f0bb58; --busy-soft: #3a2d12; --bad: #ff8a80; --bad-soft: #42201f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.45 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 40px; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; margin-bottom: 18px; }
h1 { font-size: 22px; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 15px; margin: 26px 0 10px; }
.faint { color: var(--faint); }
.pill { display: inline-block; padding: 1px 10px; border-radius: 999px; font-size: 12.5px;
  font-weight: 600; white-space: nowrap; }
.good { color: var(--good); background: var(--good-soft); }
.busy { color: var(--busy); background: var(--busy-soft); }
.bad { color: var(--bad); background: var(--bad-soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 12px 16px; } .tile b { display: block; font-size: 22px; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.notes { margin: 14px 0 0; padding: 10px 16px 10px 32px; }
.card { overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: 10px 14px; text-align: right; font-variant-numeric: tabular-nums;
  vertical-align: top; }
th { font-size: 12.5px; font-weight: 600; color: var(--faint); white-space: nowrap; }
td { border-top: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; width: 34%; }
.name { font-weight: 650; } .small { font-size: 12.5px; }
.bar { display: block; height: 5px; min-width: 64px; margin-top: 5px; border-radius: 3px;
  background: var(--track); overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); border-radius: 3px; }
.empty { padding: 18px; color: var(--faint); }
footer { margin-top: 22px; display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13.5px; }
a { color: var(--accent); }
.stale main { opacity: 0.45; }
.stale::before { content: "no answer from the server"; position: fixed; inset: 0 0 auto 0; padding: 6px;
  text-align: center; z-index: 1; color: var(--bad); background: var(--bad-soft); }
@media (max-width: 760px) {
  main { padding: 18px 12px 30px; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: 8px; }
  thead { display: none; }
  table, tbody, tr, td { display: block; }
  td, td:first-child { width: auto; text-align: left; border-top: 0; padding: 4px 14px; }
  tr { display: grid; grid-template-columns: 1fr 1fr; padding: 10px 0; border-top: 1px solid var(--line); }
  tbody tr:first-child { border-top: 0; }
  .out td[data-of] { display: none; }
  td:first-child { grid-column: 1 / -1; }
  td[data-of]::before { content: attr(data-of); display: block; font-size: 12px; color: var(--faint); }
}
</style>
</head>
<body>
)HTML";

// Keeps what is there while the server does not answer, and says so.
inline constexpr const char* kPageTail = R"HTML(<script>
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
  }
}, 2000);
</script>
</body>
</html>
)HTML";

}  // namespace mlpserve
