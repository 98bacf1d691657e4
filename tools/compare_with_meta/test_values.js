// Runs the Parameter Builder's own tests of its fields and writes every text that they normalise.
//
//     node test_values.js PACKAGE > [[field, value], ...]
//
// The tests call functions of PACKAGE/src/piiUtil, which are replaced by functions that also record their argument. So
// the values are complete, however a test builds them. The tests' own assertions are checked: a failed one ends the
// program with an error, since the library would then not send what its tests say.
'use strict';

const assert = require('assert');
const fs = require('fs');
const Module = require('module');
const path = require('path');

const tests = path.join(path.resolve(process.argv[2]), 'tests');
const FIELDS = {
  getNormalizedEmail: 'email',
  getNormalizedPhone: 'phone',
  getNormalizedGender: 'gender',
  getNormalizedDOB: 'birthday',
  getNormalizedName: 'first_name',
  getNormalizedCity: 'city',
  getNormalizedState: 'state',
  getNormalizedZipCode: 'zip',
  getNormalizedCountry: 'country',
  getNormalizedExternalID: 'external_id',
};
// These tests replace the functions and check the calls, not the texts.
const WITHOUT_VALUES = 'PIIUtil.test.js';

const recorded = [];

function recording(name, call) {
  return (value, ...others) => {
    if (typeof value === 'string') recorded.push([FIELDS[name], value]);
    return call(value, ...others);
  };
}

const load = Module._load;
Module._load = function (request, parent, ...others) {
  const loaded = load.call(this, request, parent, ...others);
  if (path.dirname(parent?.filename ?? '') !== tests || !request.includes('/piiUtil/')) return loaded;
  const functions = Object.entries(loaded).map(([name, call]) => [name, FIELDS[name] ? recording(name, call) : call]);
  return Object.fromEntries(functions);
};

// The part of the test runner's interface that these tests use.
const run = (_name, body) => body();
Object.assign(global, {
  describe: run,
  it: run,
  test: run,
  expect: (actual) => ({
    toBe: (expected) => assert.strictEqual(actual, expected),
    toBeNull: () => assert.strictEqual(actual, null),
    toEqual: (expected) => assert.deepStrictEqual(actual, expected),
    toThrow: () => assert.throws(actual),
    not: { toThrow: () => assert.doesNotThrow(actual) },
  }),
});

for (const file of fs.readdirSync(tests).sort()) {
  if (file.endsWith('Util.test.js') && file !== WITHOUT_VALUES) require(path.join(tests, file));
}
process.stdout.write(JSON.stringify(recorded));
