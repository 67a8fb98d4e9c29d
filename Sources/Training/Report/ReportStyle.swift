// The look of a report, in light and in dark.

let reportStyle = """
  :root {
    --page: #f7f6f3; --card: #ffffff; --ink: #1d1c1a; --quiet: #6c6962; --rule: #e5e2dc;
    --train: #2563c9; --held: #d2541b;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --page: #131416; --card: #1b1d20; --ink: #e9e8e4; --quiet: #9a9892; --rule: #2e3135;
      --train: #74a7ff; --held: #ff9763;
    }
  }
  * { box-sizing: border-box; margin: 0; }
  body {
    padding: 2.5rem clamp(1rem, 4vw, 3rem) 4rem; background: var(--page); color: var(--ink);
    font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
    font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%;
  }
  header, main { max-width: 66rem; margin: 0 auto; }
  header p {
    color: var(--held); font-size: 0.8rem; font-weight: 600; letter-spacing: 0.06em; text-transform: uppercase;
  }
  h1 { font-size: clamp(1.6rem, 4vw, 2.2rem); line-height: 1.2; letter-spacing: -0.02em; overflow-wrap: anywhere; }
  h2 { font-size: 1rem; font-weight: 600; }
  h2 small { color: var(--quiet); font-weight: 400; font-size: 0.8rem; }
  section, .empty { margin-top: 2rem; }
  section h2 { margin-bottom: 0.6rem; }

  .tiles {
    display: grid; grid-template-columns: repeat(6, 1fr); gap: 1px; margin-top: 1.5rem;
    background: var(--rule); border: 1px solid var(--rule); border-radius: 10px; overflow: hidden;
  }
  .tiles div { background: var(--card); padding: 0.9rem 1rem; }
  .tiles dt, .tiles small { color: var(--quiet); font-size: 0.8rem; }
  .tiles small { display: block; line-height: 1.3; }
  .tiles b { display: block; font-size: 1.4rem; line-height: 1.4; font-weight: 600; white-space: nowrap; }
  .tiles i { font-style: normal; font-size: 0.8rem; font-weight: 400; }

  .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
  figure {
    display: flex; flex-direction: column; justify-content: space-between; min-width: 0; padding: 1rem;
    background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  }
  figure.main { grid-column: 1 / -1; }
  figcaption { display: flex; flex-wrap: wrap; gap: 0 1.5rem; justify-content: space-between; align-items: baseline; }
  figcaption h2 { margin: 0; }
  figcaption ul {
    display: flex; flex-wrap: wrap; gap: 0 1rem; padding: 0; list-style: none; color: var(--quiet); font-size: 0.8rem;
  }
  figcaption li::before {
    content: ""; display: inline-block; width: 1.1em; margin-right: 0.4em; vertical-align: 0.25em;
    border-top: 2px solid var(--train);
  }
  figcaption li.measured::before { opacity: 0.4; }
  figcaption li.reference::before { border-top: 2px dashed var(--quiet); }
  figcaption li.marks::before {
    width: 0.6em; height: 0.6em; border: 0; border-radius: 50%; background: var(--held); vertical-align: 0;
  }

  svg { overflow: visible; }
  .chart { display: block; width: calc(100% - 3.4rem); height: 11rem; margin: 2rem 0.6rem 1.6rem 2.8rem; }
  .main .chart { height: 20rem; }
  .chart text { fill: var(--quiet); font-size: 12px; }
  text.y { text-anchor: end; }
  text.x { text-anchor: middle; }
  .chart line { stroke: var(--rule); shape-rendering: crispEdges; }
  .chart line.tick { stroke: var(--quiet); }
  path { fill: none; vector-effect: non-scaling-stroke; stroke-linecap: round; stroke-linejoin: round; }
  path.measured { stroke: var(--train); stroke-width: 1; opacity: 0.4; }
  path.line { stroke: var(--train); stroke-width: 2; }
  path.dot { stroke: var(--train); stroke-width: 7; }
  path.thread { stroke: var(--held); stroke-width: 1; opacity: 0.6; }
  path.marks { stroke: var(--held); stroke-width: 7; }
  path.reference { stroke: var(--quiet); stroke-width: 1.5; stroke-dasharray: 6 5; stroke-linecap: butt; }
  .probe { opacity: 0; }
  .probe:hover { opacity: 1; }
  .probe rect { fill: transparent; }
  .chart .probe line { stroke: var(--quiet); }
  .chart .probe text { fill: var(--ink); text-anchor: end; }

  table { width: 100%; border-collapse: collapse; }
  th, td { padding: 0.4rem 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
  th { width: 12rem; padding-right: 1rem; color: var(--quiet); font-weight: 400; }
  td { overflow-wrap: anywhere; }
  pre {
    padding: 1rem 1.2rem; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
    font: 13.5px/1.6 ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
    overflow-wrap: anywhere;
  }
  @media (max-width: 66rem) { .tiles { grid-template-columns: repeat(3, 1fr); } }
  @media (max-width: 34rem) {
    .tiles { grid-template-columns: repeat(2, 1fr); }
    th { width: 8rem; }
    .main .chart { height: 15rem; }
  }
  """
