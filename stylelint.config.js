// The standard rules, but for what this style sheet does on purpose: short rules on one line, read as a table.

export default {
  extends: 'stylelint-config-standard',
  reportNeedlessDisables: true,
  rules: {
    'alpha-value-notation': 'number',
    'at-rule-empty-line-before': null,
    'custom-property-empty-line-before': null,
    'declaration-block-single-line-max-declarations': null,
    // `max-width` and its kind reach older browsers than a range does.
    'media-feature-range-notation': 'prefix',
    // Rules stand by the part of the page that they draw; layers, not the order, say which wins.
    'no-descending-specificity': null,
    'property-no-vendor-prefix': [true, { ignoreProperties: ['-webkit-text-size-adjust'] }], // Safari on iOS
    'rule-empty-line-before': null,
    'value-keyword-case': ['lower', { ignoreProperties: ['--sans', '--mono'] }], // names of fonts
  },
}
