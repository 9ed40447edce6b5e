// The browser loads third-party modules by URL; here each has a fake.

export const resolve = (specifier, context, next) =>
  specifier.includes('/vendor/') && !specifier.startsWith('file:')
    ? { url: new URL(specifier.replace(/^.*\/vendor\//, './vendor/'), import.meta.url).href, shortCircuit: true }
    : next(specifier, context)
