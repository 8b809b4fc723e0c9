// The data of the browser of questions: JSON, compressed with zlib, as base64 (page.packed_json). The text leaves the page.
async function unpacked(element) {
  const packed = atob(element.textContent);
  element.textContent = "";
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i += 1) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}
