// A control bar alone; the source of controls.js stands before this.

export default {
  render({ model, el }) {
    return mountControls({ model, el });
  },
};
