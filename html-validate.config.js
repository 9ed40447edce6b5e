// Pages as the server sends them: nesting, attributes, ids, labels, landmarks.

export default {
  root: true,
  extends: ['html-validate:recommended'],
  rules: {
    'doctype-style': 'off', // <!doctype html>, as the HTML standard writes it
    'form-dup-name': 'off', // several buttons named 'action' are how a form says which one was pressed
    'no-implicit-button-type': 'off', // submit, which a button is without a type, is what is meant
    'no-implicit-input-type': 'off', // likewise text
    'no-redundant-for': 'off', // a field inside its label may be named by it, too
    'no-trailing-whitespace': 'off', // what template tags leave behind
    'prefer-native-element': 'off', // role="region" names a box that scrolls; a <section> would be a part of the page
    'unique-landmark': 'off', // counts what stands in a <template>
    'valid-autocomplete': 'off', // on a hidden field 'off' keeps Firefox from restoring its old value
  },
}
