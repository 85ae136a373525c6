# pragma version 0.4.3
# pragma evm-version london
"""
@title Anchor
@license Apache-2.0
@notice Holds, for each site, the newest head of its append-only log (RFC 6962), and lets it only grow.
@dev The records themselves ride in the calldata of `anchor`, so that every node keeps them. That they hash to the root
     is not checked here: whoever holds the calldata can check it.
"""

event Registered:
    site: indexed(bytes32)
    committer: indexed(address)

event Anchored:
    site: indexed(bytes32)
    old_size: uint64
    new_size: uint64
    root: bytes32

struct Head:
    size: uint64
    root: bytes32

# @notice Who may extend a site's log; nobody while it is the zero address.
committers: public(HashMap[bytes32, address])

# @notice A site's newest size and root; both zero while nothing is anchored.
heads: public(HashMap[bytes32, Head])


@external
def register(site: bytes32):
    """
    @notice Take a site that nobody has taken: the sender becomes its committer.
    @param site The site's id
    """
    assert self.committers[site] == empty(address), "site is taken"
    self.committers[site] = msg.sender
    log Registered(site=site, committer=msg.sender)


@external
def anchor(
    site: bytes32,
    old_size: uint64,
    new_size: uint64,
    root: bytes32,
    proof: DynArray[bytes32, 64],
    data: Bytes[100000],
):
    """
    @notice Replace a site's head by one that provably extends it. Sending the same call twice cannot do harm: the
            second no longer starts from the head.
    @param site The site's id; the sender must be its committer
    @param old_size The size of the head that is extended; must be the head's
    @param new_size The size afterwards; must be larger
    @param root The log's root at `new_size`
    @param proof The consistency proof from `old_size` to `new_size` (RFC 6962 2.1.2); empty when `old_size` is 0
    @param data The records from `old_size` to `new_size`, kept in the calldata only
    """
    assert self.committers[site] == msg.sender, "not the site's committer"
    head: Head = self.heads[site]
    assert head.size == old_size, "old size is not the head's"
    assert new_size > old_size, "log must grow"
    if old_size == 0:
        assert len(proof) == 0, "an empty log needs no proof"
    else:
        self._check_consistency(old_size, new_size, head.root, root, proof)
    self.heads[site] = Head(size=new_size, root=root)
    log Anchored(site=site, old_size=old_size, new_size=new_size, root=root)


@internal
@pure
def _node(left: bytes32, right: bytes32) -> bytes32:
    return sha256(concat(0x01, left, right))


@internal
@pure
def _check_consistency(
    old_size: uint64, new_size: uint64, old_root: bytes32, new_root: bytes32, proof: DynArray[bytes32, 64]
):
    """
    @dev RFC 9162 section 2.1.4.2, with its names: fn and sn walk up from the last leaf of the old and the new tree, fr
         and sr are the roots rebuilt on the way. 0 < old_size < new_size holds here.
    """
    fn: uint256 = convert(old_size, uint256) - 1
    sn: uint256 = convert(new_size, uint256) - 1
    for _: uint256 in range(64):
        if fn & 1 == 0:
            break
        fn = fn >> 1
        sn = sn >> 1
    fr: bytes32 = old_root
    start: uint256 = 0
    if old_size & (old_size - 1) != 0:
        assert len(proof) > 0, "not an extension"
        fr = proof[0]
        start = 1
    sr: bytes32 = fr
    for i: uint256 in range(64):
        if i >= len(proof):
            break
        if i < start:
            continue
        assert sn != 0, "not an extension"
        c: bytes32 = proof[i]
        if fn & 1 == 1 or fn == sn:
            fr = self._node(c, fr)
            sr = self._node(c, sr)
            for _: uint256 in range(64):
                if fn & 1 == 1 or fn == 0:
                    break
                fn = fn >> 1
                sn = sn >> 1
        else:
            sr = self._node(sr, c)
        fn = fn >> 1
        sn = sn >> 1
    assert sn == 0 and fr == old_root and sr == new_root, "not an extension"
