// Puts the code behind the # of a reviewer's link into the form, and takes it out of the address; without this it is pasted.
const field = document.getElementById("code");
if (field && location.hash.length > 1) {
  field.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
}
