// What ESLint looks for in JavaScript: what it recommends, and a few sources of mistakes.
// Form is not its matter; types are tsc's (npm run check).
import js from '@eslint/js';
import globals from 'globals';

export default [
  // updates.mjs is made from updates.js, which is looked at; the package has copies of both.
  { ignores: ['build/', '.venv/', 'node_modules/', 'js/updates.mjs', 'django_pushserver/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    rules: {
      'array-callback-return': 'error',
      eqeqeq: 'error',
      'no-implicit-coercion': 'error',
      'no-shadow': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'require-atomic-updates': 'error',
    },
  },
  {
    // Classic scripts, as they are; ES2018 is what the client promises to need, no more.
    files: ['**/*.js'],
    languageOptions: { ecmaVersion: 2018, sourceType: 'script', globals: globals.browser },
    rules: { strict: ['error', 'safe'] },
  },
  {
    files: ['examples/**/*.js'],
    languageOptions: { ecmaVersion: 2022, globals: { Updates: 'readonly' } },
    // A script of its own page: strict as a whole.
    rules: { strict: ['error', 'global'] },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { globals: globals.nodeBuiltin },
  },
  {
    // Functions in them run in the page.
    files: ['tests/browser/*.mjs', 'tests/clients/*.mjs'],
    languageOptions: {
      globals: {
        ...globals.browser,
        $: 'readonly',
        NchanSubscriber: 'readonly',
        ReconnectingEventSource: 'readonly',
        Updates: 'readonly',
      },
    },
  },
];
