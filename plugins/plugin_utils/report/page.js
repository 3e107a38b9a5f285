// Copyright: (c) 2026, the buildfleet.buildcache contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Whatever is shown of a host is set as text, never as markup.
const element = (name, text = "", attributes = {}) => {
  const made = document.createElement(name);
  made.textContent = text;
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
};

const bytes = (id) => Uint8Array.from(atob(document.getElementById(id).textContent), (one) => one.charCodeAt(0));

// The library is a module, and a page without a network can import one only from its own text.
async function library() {
  const address = URL.createObjectURL(new Blob([bytes("library")], { type: "text/javascript" }));
  try {
    return await import(address);
  } finally {
    URL.revokeObjectURL(address);
  }
}

let details;
async function detailsOf(host) {
  details ??= new Response(new Blob([bytes("details")]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  return new Map(Object.entries(await details)).get(host);
}

function tableOf({ title, note, columns, figures, rows }) {
  const figure = (index) => (index >= columns.length - figures ? { class: "n" } : {});
  const table = element("table", "", { class: "plain" });
  const head = table.createTHead().insertRow();
  columns.forEach((name, index) => head.append(element("th", name, { scope: "col", ...figure(index) })));
  const body = table.createTBody();
  rows.forEach((cells) => {
    const row = body.insertRow();
    cells.forEach((text, index) => {
      const cell = element("td", "", { "data-label": columns[index], ...figure(index) });
      cell.append(element("bdi", text));
      row.append(cell);
    });
  });
  const section = element("section");
  section.append(element("h3", title), table);
  if (note) section.append(element("p", note, { class: "note" }));
  return section;
}

const dialog = document.getElementById("host");
async function showHost() {
  const host = location.hash.startsWith("#host=") ? decodeURIComponent(location.hash.slice(6)) : null;
  const tables = host === null ? undefined : await detailsOf(host);
  if (!tables) {
    dialog.close();
    return;
  }
  const link = [...document.querySelectorAll("#hosts a")].find((one) => one.hash === location.hash);
  document.getElementById("host-name").textContent = link?.textContent ?? host;
  const place = document.getElementById("host-details");
  place.replaceChildren(...tables.map(tableOf));
  const why = link?.closest("tr").querySelector(".why");
  if (why) place.prepend(element("p", why.textContent));
  else if (!tables.length) place.append(element("p", "Nothing is held, and nothing is wrong."));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}
dialog.addEventListener("close", () => {
  if (location.hash.startsWith("#host=")) history.replaceState(null, "", location.pathname + location.search);
});
addEventListener("hashchange", showHost);
showHost();

if (document.getElementById("hosts")) {
  const { jQuery } = await library();
  const table = jQuery("#hosts").DataTable({
    order: [],
    pageLength: 100,
    lengthMenu: [100, 500, { label: "all", value: -1 }],
    autoWidth: false,
    layout: { topStart: "search", topEnd: ["info", "pageLength"], bottomStart: null, bottomEnd: "paging" },
    language: {
      search: "Filter",
      searchPlaceholder: "host, state, finding …",
      info: "_START_ to _END_ of _TOTAL_ hosts",
      infoEmpty: "No host",
      infoFiltered: "(of _MAX_)",
      lengthMenu: "_MENU_ on a page",
      zeroRecords: "No host is like that.",
    },
  });
  document.querySelectorAll("button.only").forEach((button) =>
    button.addEventListener("click", () => {
      table.search(button.dataset.code).draw();
      document.getElementById("hosts-title").scrollIntoView();
    }),
  );
  // On paper there are no other pages to turn to.
  const shown = table.page.len();
  addEventListener("beforeprint", () => table.page.len(-1).draw(false));
  addEventListener("afterprint", () => table.page.len(shown).draw(false));
  document.documentElement.dataset.ready = Math.round(performance.now());
}
