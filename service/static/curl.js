// The request that the page made, as a command line.

/** For a file of this name in this domain; `keyed` adds the key as a variable, never its value. */
export function curlLine(filename, domain, base, keyed) {
  const words = ["curl"];
  if (keyed) words.push('-H "Authorization: Bearer $DRCAP_KEY"');
  words.push("-F", shell(`file=@${formName(filename)}`), "-F", shell(`domain=${domain}`));
  words.push("-F", "response_format=verbose_json", shell(new URL("caption", base).href));
  return words.join(" ");
}

// For curl a semicolon or a comma ends the name, unless it stands in quotes.
function formName(name) {
  return /[;,"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

function shell(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
