// Third-party modules are loaded by address in the browser; here each has a fake of its own.

export const resolve = (specifier, context, next) =>
  specifier.includes('/vendor/') && !specifier.startsWith('file:')
    ? { url: new URL(specifier.replace(/^.*\/vendor\//, './vendor/'), import.meta.url).href, shortCircuit: true }
    : next(specifier, context)
