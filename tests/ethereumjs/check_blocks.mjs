// Has a second client, @ethereumjs/blockchain + vm, accept blocks one by one: seals, roots, execution.
// Use: node check_blocks.mjs FOLDER_WITH_NODE_MODULES GENESIS_JSON BLOCKS
// BLOCKS holds RLP after RLP. The last line of output is a JSON object: accepted, refused (why), head.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const [modules, genesisFile, blocksFile] = process.argv.slice(2)
const need = createRequire(join(modules, 'package.json'))
const { cliqueSigner, createBlockFromRLP } = need('@ethereumjs/block')
const { CliqueConsensus, createBlockchain } = need('@ethereumjs/blockchain')
const { createCommonFromGethGenesis, parseGethGenesisState } = need('@ethereumjs/common')
const { createEVM } = need('@ethereumjs/evm')
const { MerkleStateManager } = need('@ethereumjs/statemanager')
const { bytesToHex } = need('@ethereumjs/util')
const { createVM, runBlock } = need('@ethereumjs/vm')

// The length of the RLP list that begins at `at` (Yellow Paper, appendix B).
function listLength(bytes, at) {
  const first = bytes[at]
  if (first < 0xf8) return 1 + first - 0xc0
  let length = 0
  for (const byte of bytes.subarray(at + 1, at + first - 0xf7 + 1)) length = length * 256 + byte
  return 1 + first - 0xf7 + length
}

const genesis = JSON.parse(readFileSync(genesisFile, 'utf8'))
const common = createCommonFromGethGenesis(genesis, { chain: 'terang' })
if (common.consensusAlgorithm() !== 'clique' || common.hardfork() !== 'london') {
  throw new Error(`the genesis asks for ${common.consensusAlgorithm()} and ${common.hardfork()}`)
}
const genesisState = parseGethGenesisState(genesis)
const blockchain = await createBlockchain({
  common,
  genesisState,
  validateBlocks: true,
  validateConsensus: true,
  consensusDict: { clique: new CliqueConsensus() },
})
const stateManager = new MerkleStateManager({ common })
const evm = await createEVM({ common, blockchain, stateManager, cliqueSigner })
const vm = await createVM({ common, blockchain, stateManager, evm })
await stateManager.generateCanonicalGenesis(genesisState)

const bytes = new Uint8Array(readFileSync(blocksFile))
let root = blockchain.genesisBlock.header.stateRoot
let head = blockchain.genesisBlock
let accepted = 0
let refused = null
for (let at = 0; at < bytes.length && refused === null; ) {
  const end = at + listLength(bytes, at)
  try {
    const block = createBlockFromRLP(bytes.subarray(at, end), { common, setHardfork: true })
    await blockchain.putBlock(block)
    await runBlock(vm, { block, root, skipBlockValidation: false, skipHeaderValidation: false })
    root = block.header.stateRoot
    head = block
    accepted += 1
  } catch (error) {
    refused = String(error.message).slice(0, 300)
  }
  at = end
}
console.log(JSON.stringify({ accepted, refused, genesis: bytesToHex(blockchain.genesisBlock.hash()), head: bytesToHex(head.hash()) }))
